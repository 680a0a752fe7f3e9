"""Models that an image brings, beside those that runtime.yaml declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from pillion.runtimefile import Code, DesiredModel, RuntimeFile, dump
from tests.integration.server.process import served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels

SERVICE = """from pillion import Model, task
class Mood(Model):
    def load(self): ...
    @task
    def classify(self, text: str) -> int:
        return len(text)
"""


def bundle(folder: Path) -> Path:
    (folder / "service.py").write_text(SERVICE)
    code = Code(module=str(folder / "service.py"), folder=str(folder))
    file = folder / "models.yaml"
    file.write_text(dump(RuntimeFile(models=(DesiredModel(name="mood", path="", code=code),))))
    return file


def test_they_are_served_whatever_runtime_yaml_comes_to_say(tmp_path: Path, iris: IrisModels) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {})
    with served(tmp_path, config, "--models-bundled", str(bundle(tmp_path))) as server:
        assert 4 == httpx.post(server.url("/classify"), json={"text": "good"}).json()

        write_config(config, {"iris": iris.onnx})
        until_now(lambda: httpx.get(server.url("/v2/models/iris/ready")).status_code == 200)

        assert 4 == httpx.post(server.url("/classify"), json={"text": "good"}).json()


def test_a_declared_model_of_the_same_name_changes_nothing_and_is_named(tmp_path: Path, iris: IrisModels) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {})
    with served(tmp_path, config, "--models-bundled", str(bundle(tmp_path))) as server:
        write_config(config, {"mood": iris.onnx})
        until_now(lambda: bool(server.logged("the model 'mood' is declared, and the image brings one of that name")))

        assert 4 == httpx.post(server.url("/classify"), json={"text": "good"}).json()
