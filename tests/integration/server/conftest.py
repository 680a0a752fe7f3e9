"""A server per module where tests only ask, one per test where they change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.server.process import served, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels


@pytest.fixture
def config(tmp_path: Path, iris: IrisModels) -> Path:
    """A runtime.yaml with the ONNX model."""
    path = tmp_path / "runtime.yaml"
    write_config(path, {"iris": iris.onnx})
    return path


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, iris: IrisModels) -> Iterator[ServerProcess]:
    """A server that tests only ask."""
    folder = tmp_path_factory.mktemp("asked")
    write_config(folder / "runtime.yaml", {"iris": iris.onnx})
    with served(folder, folder / "runtime.yaml") as server:
        yield server
