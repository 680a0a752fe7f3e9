"""Devices and numbers of threads: chosen by what is there, and refused by name where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from pillion.backends.api import ModelLoadError
from pillion.backends.devices import CUDA_PROVIDER, cuda_index, nvidia_devices, onnx_providers
from pillion.repository.loader import load
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel, ExecutionSettings
from pillion.tensors import Datatype, Tensor, datatype_of

if TYPE_CHECKING:
    from tests.models import IrisModels

CPU_PROVIDER = "CPUExecutionProvider"
BOTH = [CUDA_PROVIDER, CPU_PROVIDER]
ROWS = np.random.default_rng(0).normal(size=(40, 3))
LABELS = (ROWS[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    ("asked", "available", "devices", "expected"),
    [
        (None, [CPU_PROVIDER], 1, [CPU_PROVIDER]),
        (None, BOTH, 0, [CPU_PROVIDER]),
        (None, BOTH, 1, [(CUDA_PROVIDER, {"device_id": 0}), CPU_PROVIDER]),
        ("auto", BOTH, 2, [(CUDA_PROVIDER, {"device_id": 0}), CPU_PROVIDER]),
        ("cpu", BOTH, 1, [CPU_PROVIDER]),
        ("cuda", BOTH, 0, [(CUDA_PROVIDER, {"device_id": 0}), CPU_PROVIDER]),
        ("cuda:1", BOTH, 2, [(CUDA_PROVIDER, {"device_id": 1}), CPU_PROVIDER]),
    ],
)
def test_onnx_runtime_computes_by_cuda_where_it_is_asked_for_or_there(
    asked: str | None, available: list[str], devices: int, expected: list[Any]
) -> None:
    assert expected == onnx_providers(asked, available, devices)


@pytest.mark.parametrize("asked", ["mps", "cuda:", "cuda:one", "gpu", ""])
def test_what_is_no_device_of_these_libraries_is_refused(asked: str) -> None:
    with pytest.raises(ModelLoadError, match="computes on the processor and by CUDA"):
        cuda_index(asked)


def test_devices_are_counted_by_their_nodes(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia0x", "null"):
        (tmp_path / name).touch()
    assert 2 == nvidia_devices(tmp_path)


@pytest.fixture
def files(tmp_path: Path, iris: IrisModels) -> dict[str, Path]:
    boosted = xgboost.train({"verbosity": 0}, xgboost.DMatrix(ROWS, LABELS), 2)
    boosted.save_model(tmp_path / "m.json")
    light = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(ROWS, LABELS), 2)
    light.save_model(tmp_path / "m.txt")
    joblib.dump(LogisticRegression().fit(ROWS, LABELS), tmp_path / "m.joblib")
    (tmp_path / "service.py").write_text(
        "import pillion\n\n\nclass Where(pillion.Model):\n"
        "    def predict(self, x: list[int]) -> list[str]:\n        return [self.device for _ in x]\n"
    )
    return {
        "onnx": iris.onnx,
        "xgboost": tmp_path / "m.json",
        "lightgbm": tmp_path / "m.txt",
        "sklearn": tmp_path / "m.joblib",
        "python": tmp_path,
    }


def desired(files: dict[str, Path], kind: str, **execution: Any) -> DesiredModel:
    declared = "python" if kind == "python" else None
    settings = ExecutionSettings(executor="thread", **execution)
    return DesiredModel(
        name="m", path=str(files[kind]), format=declared, allow_pickle=True, trust_code=True, execution=settings
    )


@pytest.mark.skipif(nvidia_devices() > 0, reason="there is a device here")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("onnx", "device 'cuda' cannot be used here: this build of ONNX Runtime has no CUDA provider"),
        (
            "xgboost",
            "device 'cuda' cannot be used here: (this build of XGBoost|XGBoost sees no)",
        ),
        ("lightgbm", "models of lightgbm compute on the CPU, and the device 'cuda' is named"),
        ("sklearn", "models of sklearn compute on the CPU, and the device 'cuda' is named"),
    ],
)
def test_a_device_that_is_not_there_is_refused_when_the_model_is_loaded(
    kind: str, said: str, files: dict[str, Path]
) -> None:
    with pytest.raises(ModelLoadError, match=said):
        load(desired(files, kind, device="cuda"), RepositorySettings(), 1)


@pytest.mark.parametrize("kind", ["onnx", "xgboost", "lightgbm", "sklearn"])
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_every_model_computes_on_the_processor(kind: str, device: str, files: dict[str, Path]) -> None:
    served, _ = load(desired(files, kind, device=device), RepositorySettings(), 1)
    assert served.metadata.outputs


@pytest.mark.skipif(nvidia_devices() > 0, reason="there is a device here")
def test_the_servers_device_is_for_models_that_can_and_name_none(files: dict[str, Path]) -> None:
    server = RepositorySettings(device="cuda")
    with pytest.raises(ModelLoadError, match="device 'cuda' cannot be used here"):
        load(desired(files, "onnx"), server, 1)
    for one in (desired(files, "onnx", device="cpu"), desired(files, "lightgbm"), desired(files, "sklearn")):
        assert load(one, server, 1)[0].metadata.outputs


@pytest.mark.parametrize(
    ("said", "server", "expected"), [(None, "auto", "cpu"), (None, "cuda:1", "cuda:1"), ("cuda", "cuda:1", "cuda")]
)
def test_a_class_is_told_the_device(said: str | None, server: str, expected: str, files: dict[str, Path]) -> None:
    served, _ = load(desired(files, "python", device=said), RepositorySettings(device=server), 1)
    given = Tensor("x", Datatype.INT64, np.array([1]))
    (answer,) = served.model.predict([given], served.model.default_outputs, None)
    assert [expected.encode()] == answer.data.tolist()


@pytest.mark.parametrize("kind", ["sklearn", "python"])
def test_a_number_of_threads_that_nobody_would_keep_to_is_refused(kind: str, files: dict[str, Path]) -> None:
    with pytest.raises(ModelLoadError, match="intraOpThreads"):
        load(desired(files, kind, intra_op_threads=2), RepositorySettings(), 1)


def threads_here() -> set[str]:
    return {task.name for task in Path("/proc/self/task").iterdir()}


@pytest.mark.parametrize(("own", "server", "expected"), [(None, None, 0), (3, None, 2), (None, 4, 3), (2, 4, 1)])
def test_onnx_runtime_starts_as_many_threads_as_are_asked_for(
    own: int | None, server: int | None, expected: int, files: dict[str, Path]
) -> None:
    before = threads_here()
    served, _ = load(desired(files, "onnx", intra_op_threads=own), RepositorySettings(intra_op_threads=server), 1)
    assert expected == len(threads_here() - before)  # beside the one that calls
    served.model.close()


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
def test_trees_answer_the_same_by_several_threads(kind: str, files: dict[str, Path]) -> None:
    one, _ = load(desired(files, kind), RepositorySettings(), 1)
    many, _ = load(desired(files, kind, intra_op_threads=2), RepositorySettings(), 1)
    dtype = np.float32 if kind == "xgboost" else np.float64
    rows = np.tile(ROWS, (50, 1)).astype(dtype)
    given = Tensor(one.model.rules[0].spec.name, datatype_of(rows.dtype), rows)
    names = one.model.default_outputs
    np.testing.assert_array_equal(
        one.model.predict([given], names, None)[0].data, many.model.predict([given], names, None)[0].data
    )
