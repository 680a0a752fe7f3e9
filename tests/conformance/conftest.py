"""One server for all conformance tests, and the results of each client's script."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.environments import environment
from tests.conformance.models import save_models
from tests.conformance.server import RunningServer, serve
from tests.engines import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The real server with the models of :mod:`tests.conformance.models`, management off, no TLS."""
    folder = tmp_path_factory.mktemp("served")
    with serve(folder, save_models(folder)) as running:
        yield running


@pytest.fixture(scope="session", params=ENGINES)
def any_engine(
    server: RunningServer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """The same for clients of gRPC: once over each engine. ``server`` is the one on the default."""
    if request.param == ENGINES[0]:
        yield server
        return
    folder = tmp_path_factory.mktemp("served")
    with serve(folder, save_models(folder), {"grpc": {"engine": request.param}}) as running:
        yield running


def run_script(client: str, script: str, *arguments: str) -> dict[str, Any]:
    """What a script of ``scripts/`` reports when the interpreter of ``client`` runs it: one JSON object of cases.

    A case that raised holds ``{"raised": text}``.
    """
    done = subprocess.run(
        [environment(client), "-I", SCRIPTS / script, *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.fixture(scope="module")
def grpcurl() -> str:
    """From the path, or where ``make cluster-up`` builds it."""
    built = sorted((Path.home() / ".cache" / "pillion" / "bin").glob("grpcurl-*/grpcurl"))
    found = shutil.which("grpcurl") or (str(built[-1]) if built else None)
    if found is None:
        pytest.skip("grpcurl is neither on the path nor built: make cluster-up builds it")
    return found
