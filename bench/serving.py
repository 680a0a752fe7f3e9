"""How each server of a comparison is started and asked: one function for each, all with the same model in a file."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.environments import python_of
from bench.models import ROW
from bench.process import Process, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BENCH", "PEERS", "SERVER_CPU", "Serving", "limit", "pillion"]

SERVER_CPU: Final = 0
BENCH: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that can be started.

    Args:
        process: not running yet.
        url: of the prediction.
        body: of one flower.
        classes: takes the classes out of an answer's JSON.
        http: ``host:port``.
        grpc: the same of its Open Inference Protocol over gRPC; empty where it has none.
    """

    process: Process
    url: str
    body: bytes
    classes: Callable[[Any], list[int]]
    http: str
    grpc: str = ""


def tensors(input_name: str, output_name: str | None) -> bytes:
    """One flower as a request of the Open Inference Protocol."""
    body: dict[str, object] = {"inputs": [{"name": input_name, "shape": [1, 4], "datatype": "FP32", "data": ROW}]}
    if output_name:
        body["outputs"] = [{"name": output_name}]
    return json.dumps(body).encode()


_ROWS: Final = json.dumps({"instances": [ROW]}).encode()


def _of_tensors(answer: Any) -> list[int]:  # noqa: ANN401 - JSON
    return [int(value) for value in answer["outputs"][0]["data"]]


def _of_rows(answer: Any) -> list[int]:  # noqa: ANN401 - JSON
    return [int(value) for value in answer["predictions"]]


def pillion(
    scratch: Path, model: Path, settings: Mapping[str, Any] | None = None, models: list[dict[str, Any]] | None = None
) -> Serving:
    """Pillion as it comes. ``settings`` and ``models`` replace parts of its file."""
    http, grpc, admin = free_port(), free_port(), free_port()
    config = scratch / f"runtime-{model.stem}-{model.suffix[1:]}.yaml"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "runtime.pillion.dev/v1",
                "settings": {
                    "http": {"host": "127.0.0.1", "port": http},
                    "grpc": {"host": "127.0.0.1", "port": grpc},
                    "admin": {"host": "127.0.0.1", "port": admin},
                    "control": {"socket": str(scratch / "control.sock")},
                    **(settings or {}),
                },
                "models": models or [{"name": "iris", "path": str(model)}],
            }
        )
    )
    process = Process(
        "pillion", [sys.executable, "-m", "pillion.server", "--config", config], SERVER_CPU, scratch / "pillion.log"
    )
    onnx = model.suffix == ".onnx"
    body = tensors("X" if onnx else "input", "label" if onnx else "predict")
    address = f"127.0.0.1:{http}"
    url = f"http://{address}/v2/models/iris/infer"
    return Serving(process, url, body, _of_tensors, address, f"127.0.0.1:{grpc}")


def limit(scratch: Path, model: Path) -> Serving:
    """The bare limit: uvicorn, orjson, the model."""
    port = free_port()
    process = Process(
        "limit", [sys.executable, BENCH / "servers" / "limit_rest.py", model, str(port)], SERVER_CPU,
        scratch / "limit.log",
    )  # fmt: skip
    address = f"127.0.0.1:{port}"
    return Serving(process, f"http://{address}/v2/models/iris/infer", tensors("X", "label"), _of_tensors, address)


def _model_of(peer: str, scratch: Path, model: Path) -> Path:
    """The ONNX file as it is; the estimator fitted by the peer's own scikit-learn."""
    if model.suffix == ".onnx":
        return model
    own = scratch / f"iris-{peer}.joblib"
    if not own.exists():
        subprocess.run([python_of(peer), BENCH / "peers" / "iris_model.py", own], check=True)
    return own


def _process(name: str, peer: str, scratch: Path, command: list[str | Path], **env: str) -> Process:
    return Process(
        name, command, SERVER_CPU, scratch / f"{peer}.log", cwd=BENCH / "peers" / peer,
        env={"PYTHONPATH": str(BENCH / "peers"), "NO_PROXY": "127.0.0.1"} | env,
    )  # fmt: skip


def mlserver(scratch: Path, model: Path) -> Serving:
    """MLServer in one process: its scikit-learn runtime, or a custom runtime with an ONNX Runtime session."""
    http, grpc = free_port(), free_port()
    onnx = model.suffix == ".onnx"
    folder = scratch / f"mlserver-{model.suffix[1:]}"
    folder.mkdir(exist_ok=True)
    settings = {
        "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": free_port(), "parallel_workers": 0,
        "debug": False,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    implementation = "onnx_runtime.OnnxModel" if onnx else "mlserver_sklearn.SKLearnModel"
    parameters = {"uri": str(_model_of("mlserver", scratch, model)), "version": "1"}
    described = {"name": "iris", "implementation": implementation, "parameters": parameters}
    (folder / "model-settings.json").write_text(json.dumps(described))
    process = Process(
        "MLServer", [python_of("mlserver").with_name("mlserver"), "start", folder], SERVER_CPU,
        scratch / "mlserver.log", cwd=folder, env={"PYTHONPATH": str(BENCH / "peers" / "mlserver")},
    )  # fmt: skip
    body = tensors("X", "label") if onnx else tensors("X", "predict")
    url = f"http://127.0.0.1:{http}/v2/models/iris/infer"
    return Serving(process, url, body, _of_tensors, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")


def kserve(scratch: Path, model: Path) -> Serving:
    """KServe's Python server with a custom model."""
    http, grpc = free_port(), free_port()
    command: list[str | Path] = [
        python_of("kserve"),
        "serve.py",
        _model_of("kserve", scratch, model),
        str(http),
        str(grpc),
    ]
    url = f"http://127.0.0.1:{http}/v2/models/iris/infer"
    process = _process("KServe", "kserve", scratch, command)
    return Serving(process, url, tensors("X", None), _of_tensors, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")


def pytriton(scratch: Path, model: Path) -> Serving:
    """Triton's server with a Python function."""
    http, grpc, metrics = free_port(), free_port(), free_port()
    ports = [str(http), str(grpc), str(metrics)]
    command: list[str | Path] = [python_of("pytriton"), "serve.py", _model_of("pytriton", scratch, model), *ports]
    url = f"http://127.0.0.1:{http}/v2/models/iris/infer"
    process = _process("PyTriton", "pytriton", scratch, command)
    return Serving(process, url, tensors("X", None), _of_tensors, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")


def _by_rows(name: str, peer: str, command: Callable[[Path, str], list[str | Path]]) -> Callable[..., Serving]:
    """A server with a route /predict of its own that takes rows."""

    def start(scratch: Path, model: Path) -> Serving:
        port = free_port()
        own = _model_of(peer, scratch, model)
        process = _process(name, peer, scratch, command(own, str(port)), MODEL=str(own))
        return Serving(process, f"http://127.0.0.1:{port}/predict", _ROWS, _of_rows, f"127.0.0.1:{port}")

    return start


def _script(peer: str) -> Callable[[Path, str], list[str | Path]]:
    return lambda model, port: [python_of(peer), "serve.py", model, port]


def _bentoml(_: Path, port: str) -> list[str | Path]:
    program = python_of("bentoml").with_name("bentoml")
    return [program, "serve", "service:Iris", "--host", "127.0.0.1", "--port", port]


PEERS: Final[Mapping[str, Callable[[Path, Path], Serving]]] = {
    "MLServer": mlserver,
    "KServe": kserve,
    "PyTriton": pytriton,
    "FastAPI": _by_rows("FastAPI", "fastapi", _script("fastapi")),
    "LitServe": _by_rows("LitServe", "litserve", _script("litserve")),
    "BentoML": _by_rows("BentoML", "bentoml", _bentoml),
    "Ray Serve": _by_rows("Ray Serve", "ray", _script("ray")),
}
"""The others, by name."""
