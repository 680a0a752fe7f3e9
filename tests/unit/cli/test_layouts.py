"""Folders that were laid out for MLServer and for Triton."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.cli.layouts import LayoutError, read_layout
from pillion.cli.layouts.textproto import TextprotoError, parse_textproto
from pillion.runtimefile import ExecutionSettings
from tests.unit.cli.command import PORTS, pillion, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels

FLOWER = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}
CONFIG = """
# a model of iris flowers
name: "iris"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [
  { name: "label", data_type: TYPE_INT64, dims: [ 1 ] },
  { name: "probabilities" data_type: TYPE_FP32 dims: [ 3 ] }
]
instance_group [ { kind: KIND_CPU count: 2 } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
"""


def repository(folder: Path, model: Path, *versions: str, name: str = "iris", config: str | None = None) -> Path:
    """A Triton model repository with one model."""
    for version in versions:
        (folder / name / version).mkdir(parents=True)
        shutil.copy(model, folder / name / version / "model.onnx")
    if config is not None:
        (folder / name / "config.pbtxt").write_text(config)
    return folder


def settings(folder: Path, **given: object) -> Path:
    """A folder with MLServer's settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model-settings.json").write_text(json.dumps(given))
    return folder


def served(folder: Path) -> list[tuple[str, str]]:
    layout = read_layout(folder)
    assert layout is not None
    return [(model.name, model.version) for model in layout.models]


def test_a_model_repository_of_several_models_and_versions_is_served(tmp_path: Path, iris: IrisModels) -> None:
    repository(tmp_path, iris.onnx, "1", "2", config=CONFIG + "version_policy: { all {} }")
    repository(tmp_path, iris.onnx, "7", name="other")
    with serving("--json", str(tmp_path), *PORTS) as lines:
        base = f"http://127.0.0.1:{json.loads(lines[0])['ports']['http']}/v2/models"
        for path in ("iris", "iris/versions/1", "iris/versions/2", "other", "other/versions/7"):
            answer = httpx.post(f"{base}/{path}/infer", json=FLOWER)
            assert (200, [0]) == (answer.status_code, answer.json()["outputs"][0]["data"])


def test_mlservers_settings_are_served(tmp_path: Path, iris: IrisModels) -> None:
    shutil.copy(iris.skops, settings(
        tmp_path / "flowers", implementation="mlserver_sklearn.SKLearnModel", parameters={"uri": "./model.skops"}
    ) / "model.skops")  # fmt: skip
    with serving("--json", str(tmp_path), *PORTS) as lines:
        base = f"http://127.0.0.1:{json.loads(lines[0])['ports']['http']}"
        answer = httpx.post(f"{base}/v1/models/flowers:predict", json={"instances": [[5.1, 3.5, 1.4, 0.2]]})
        assert {"predictions": [0]} == answer.json()


def test_the_joblib_that_mlserver_takes_is_still_a_pickle(tmp_path: Path, iris: IrisModels) -> None:
    shutil.copy(iris.joblib, settings(tmp_path, name="iris", implementation="mlserver_sklearn.SKLearnModel"))
    done = pillion("serve", str(tmp_path), *PORTS)
    assert (1, True) == (done.returncode, "--allow-pickle" in done.stderr)


def test_settings_without_meaning_here_are_named(tmp_path: Path, iris: IrisModels) -> None:
    layout = read_layout(repository(tmp_path / "triton", iris.onnx, "1", config=CONFIG))
    assert layout is not None
    assert ("iris/config.pbtxt: instance_group",) == layout.unused

    folder = settings(
        tmp_path / "mlserver",
        name="iris",
        implementation="mlserver_sklearn.SKLearnModel",
        max_batch_size=4,
        inputs=[],
        parameters={"version": "v2", "content_type": "pd"},
    )
    (folder / "settings.json").write_text('{"http_port": 9000}')
    layout = read_layout(folder)
    assert layout is not None
    assert (
        "model-settings.json: parameters.content_type",
        "settings.json: http_port",
    ) == layout.unused
    assert "v2" == layout.models[0].version


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", ExecutionSettings()),
        ("max_batch_size: 0", ExecutionSettings()),
        ("max_batch_size: 8", ExecutionSettings(max_batch_size=8)),
        ("max_batch_size: 8 dynamic_batching { }", ExecutionSettings(batching="on", max_batch_size=8)),
        (
            "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 500 }",
            ExecutionSettings(batching="on", max_batch_size=8, max_batch_delay_seconds=0.0005),
        ),
    ],
)
def test_tritons_batches_are_kept(config: str, expected: ExecutionSettings, tmp_path: Path, iris: IrisModels) -> None:
    layout = read_layout(repository(tmp_path, iris.onnx, "1", config=config))
    assert layout is not None
    assert [expected] == [model.execution for model in layout.models]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_batch_size": 4}, ExecutionSettings()),
        (
            {"max_batch_size": 4, "max_batch_time": 0.1},
            ExecutionSettings(batching="on", max_batch_size=4, max_batch_delay_seconds=0.1),
        ),
    ],
)
def test_mlservers_batches_are_kept(given: dict[str, Any], expected: ExecutionSettings, tmp_path: Path) -> None:
    layout = read_layout(settings(tmp_path, name="m", implementation="mlserver_sklearn.SKLearnModel", **given))
    assert layout is not None
    assert [expected] == [model.execution for model in layout.models]


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", ["10"]),
        ("version_policy { latest { num_versions: 2 } }", ["9", "10"]),
        ("version_policy: { specific: { versions: [1, 9] } }", ["1", "9"]),
        ("version_policy { all { } }", ["1", "9", "10"]),
    ],
)
def test_tritons_version_policy_is_kept(policy: str, versions: list[str], tmp_path: Path, iris: IrisModels) -> None:
    folder = repository(tmp_path, iris.onnx, "1", "9", "10", config=policy)
    assert [("iris", version) for version in versions] == served(folder)


@pytest.mark.parametrize(
    "config", [None, 'platform: "pytorch_libtorch"', 'backend: "pytorch" default_model_filename: "net.pt"']
)
def test_torchscript_of_triton_is_for_the_backend_of_pytorch(config: str | None, tmp_path: Path) -> None:
    version = tmp_path / "repository" / "net" / "3"
    version.mkdir(parents=True)
    file = version / ("net.pt" if config and "net.pt" in config else "model.pt")
    file.write_bytes(b"of TorchScript")
    if config is not None:
        (version.parent / "config.pbtxt").write_text(config)
    layout = read_layout(tmp_path / "repository")
    assert layout is not None
    assert [("net", "3", "torch", file)] == [(m.name, m.version, m.format, m.path) for m in layout.models]


def test_a_file_of_another_backend_than_tritons_configuration_names_is_refused(
    tmp_path: Path, iris: IrisModels
) -> None:
    with pytest.raises(LayoutError, match=r"iris/1 has no model\.pt, but model\.onnx"):
        read_layout(repository(tmp_path, iris.onnx, "1", config='platform: "pytorch_libtorch"'))


def test_a_folder_of_a_model_is_no_repository(tmp_path: Path, iris: IrisModels) -> None:
    shutil.copy(iris.onnx, tmp_path / "model.onnx")
    assert read_layout(tmp_path) is None
    repository(tmp_path / "triton", iris.onnx, "1")
    assert read_layout(tmp_path / "triton" / "iris") is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('platform: "tensorrt_plan"', "platform 'tensorrt_plan' is not served here"),
        ('backend: "python"', "backend 'python' is not served here"),
        ("ensemble_scheduling { step [] }", "an ensemble"),
        ("version_policy { specific { versions: [ 4 ] } }", "['4']"),
        ('default_model_filename: "net.onnx"', "iris/1 has no net.onnx, but model.onnx"),
        ("input {", "line 1"),
    ],
)
def test_what_triton_would_serve_and_we_do_not_is_refused_with_its_place(
    config: str, said: str, tmp_path: Path, iris: IrisModels
) -> None:
    with pytest.raises(LayoutError) as failure:
        read_layout(repository(tmp_path, iris.onnx, "1", config=config))
    assert said in str(failure.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"implementation": "mine.Model"}, "'mine.Model' is code for MLServer"),
        ({"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "none.skops"}}, "no such file"),
        ({"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "s3://a/b"}}, "remote"),
    ],
)
def test_what_mlserver_would_run_and_we_do_not_is_refused(given: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError) as failure:
        read_layout(settings(tmp_path, **given))
    assert said in str(failure.value)


def test_a_refusal_is_a_sentence_of_the_command(tmp_path: Path) -> None:
    done = pillion("serve", str(settings(tmp_path / "m", implementation="mine.Model")), *PORTS)
    assert (2, True) == (done.returncode, "is code for MLServer" in done.stderr)
    (tmp_path / "m" / "model-settings.json").write_text("{")
    assert 2 == pillion("serve", str(tmp_path / "m"), *PORTS).returncode


def test_the_text_format_is_read_with_its_many_ways_to_say_the_same() -> None:
    text = 'a: 1 b { c: \'x\' "y" } b: < c: "q\\"" >; d: [1, 2], e [ { f: true } ] # end'
    assert {
        "a": ["1"],
        "b": [{"c": ["xy"]}, {"c": ['q"']}],
        "d": ["1", "2"],
        "e": [{"f": ["true"]}],
    } == parse_textproto(text)


@given(st.text(alphabet="ab:{}[]<>,;\"'\\ \n#1", max_size=40))
def test_no_text_is_answered_with_anything_but_fields_or_a_line(text: str) -> None:
    try:
        found = str(parse_textproto(text))
    except TextprotoError as error:
        found = str(error)
    assert found.startswith(("{", "line "))
