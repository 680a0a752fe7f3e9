from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node import gotools
from tests.integration.chart.schemas import write_schemas

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.cluster.node.apiserver import ControlPlane

CHART = Path(__file__).parents[3] / "charts" / "pillion"

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def helm() -> Callable[..., Done]:
    """Helm, as the scenarios use it; the arguments are its own, and `{chart}` stands for the chart's folder."""
    program = gotools.ensure(["helm"])["helm"]

    def run(*arguments: str) -> Done:
        given = [argument.replace("{chart}", str(CHART)) for argument in arguments]
        return subprocess.run([program, *given], capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def kubeconform(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Done]:
    """kubeconform, strict, with schemas made of what the API server publishes: nothing is downloaded."""
    program = gotools.ensure(["kubeconform"])["kubeconform"]
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(json.loads(control_plane.request("GET", "/openapi/v2")), folder)

    def run(manifests: str) -> Done:
        location = f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        command = [str(program), "-strict", "-summary", "-schema-location", location, "-"]
        return subprocess.run(command, input=manifests, capture_output=True, text=True, check=False)

    return run
