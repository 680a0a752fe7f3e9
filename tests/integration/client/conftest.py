"""Real servers: of a class of tasks, and of the iris model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pillion
from tests.integration.own_python.program import serving
from tests.integration.server.process import served, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program
    from tests.models import IrisModels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the class's server runs."""
    folder = tmp_path_factory.mktemp("client")
    shutil.copy(Path(__file__).with_name("service.py"), folder / "service.py")
    return folder


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    """A server of the class."""
    with serving(folder, "service.py:Mood", "--data-dir", "jobs", "--store", "store") as program:
        yield program


@pytest.fixture(scope="module")
def client(program: Program) -> Iterator[pillion.Client]:
    """One client of it."""
    with pillion.Client(program.url()) as client:
        yield client


@pytest.fixture(scope="module", params=["http", "grpc"])
def url(program: Program, request: pytest.FixtureRequest) -> str:
    """Of the same server, by either protocol."""
    return f"{request.param}://127.0.0.1:{program.ports[request.param]}"


@pytest.fixture(scope="module")
def either(url: str) -> Iterator[pillion.Client]:
    """A client by either protocol: jobs, trainings and models are the same over both."""
    with pillion.Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory, iris: IrisModels) -> Iterator[dict[str, str]]:
    """A server of the iris model, by scheme."""
    folder = tmp_path_factory.mktemp("iris")
    write_config(folder / "runtime.yaml", {"iris": iris.onnx, "labels": iris.skops})
    socket = folder / "http.sock"
    with served(folder, folder / "runtime.yaml", "--http-socket", str(socket)) as server:
        yield {"http": server.url(), "unix": f"unix://{socket}", "grpc": server.url(port="grpc", scheme="grpc")}
