"""The servers of a comparison: how each is started, asked, and checked."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environments import python_of
from bench.models import EXPECTED, ROW
from bench.process import Process, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Contestant", "check_rest", "grpc_contestants", "is_up", "rest_body", "rest_contestants"]

SERVER_CPU = 0
BENCH = Path(__file__).parent


@dataclass(slots=True)
class Contestant:
    """One server of one comparison. ``check`` raises unless the server answers the right class."""

    name: str
    process: Process
    target: str
    ready: Callable[[], bool]
    check: Callable[[], None]


def is_up(url: str) -> bool:
    """Whether a GET is answered 200 now."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def rest_body(input_name: str, output_name: str | None) -> str:
    """The request of the REST comparison: one flower as FP32."""
    body: dict[str, object] = {
        "inputs": [{"name": input_name, "shape": [1, 4], "datatype": "FP32", "data": ROW}],
    }
    if output_name:
        body["outputs"] = [{"name": output_name}]
    return json.dumps(body)


def check_rest(url: str, body: str) -> None:
    """Ask once; raises unless the answer is the right class."""
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        outputs = json.load(answer)["outputs"]
    if outputs[0]["data"] != [EXPECTED]:
        raise ValueError(f"{url} answered {outputs[0]['data']}, not {[EXPECTED]}: no ratio is worth printing")


def _rest(name: str, process: Process, port: int, body: str, ready: str | None) -> Contestant:
    url = f"http://127.0.0.1:{port}/v2/models/iris/infer"

    def works() -> bool:
        try:
            check_rest(url, body)
        except (OSError, urllib.error.URLError):
            return False
        return True

    return Contestant(
        name,
        process,
        url,
        (lambda: is_up(f"http://127.0.0.1:{port}{ready}")) if ready else works,
        lambda: check_rest(url, body),
    )


def _pillion(scratch: Path, model: Path, output: str | None) -> tuple[Process, int, int, str]:
    http, grpc, admin = free_port(), free_port(), free_port()
    config = scratch / "runtime.yaml"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "runtime.pillion.dev/v1",
                "settings": {
                    "http": {"host": "127.0.0.1", "port": http},
                    "grpc": {"host": "127.0.0.1", "port": grpc},
                    "admin": {"host": "127.0.0.1", "port": admin},
                    "control": {"socket": str(scratch / "control.sock")},
                },
                "models": [{"name": "iris", "path": str(model)}],
            }
        )
    )
    command: list[str | Path] = [sys.executable, "-m", "pillion.server", "--config", config]
    return Process("pillion", command, SERVER_CPU, scratch / "pillion.log"), http, grpc, rest_body("X", output)


def _mlserver(scratch: Path, model: Path, implementation: str, port: int) -> Process:
    folder = scratch / f"mlserver-{model.suffix[1:]}"
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "http_port": port,
                "grpc_port": free_port(),
                "metrics_port": free_port(),
                "parallel_workers": 0,
                "debug": False,
            }
        )
    )
    (folder / "model-settings.json").write_text(
        json.dumps(
            {"name": "iris", "implementation": implementation, "parameters": {"uri": str(model), "version": "1"}}
        )
    )
    python = python_of("mlserver")
    return Process(
        "MLServer",
        [python.with_name("mlserver"), "start", folder],
        SERVER_CPU,
        scratch / "mlserver.log",
        cwd=folder,
        env={"PYTHONPATH": str(BENCH / "peers" / "mlserver")},
    )


def rest_contestants(scratch: Path) -> list[Contestant]:
    """REST with the ONNX model: Pillion as it comes, the bare limit, MLServer with the same ONNX Runtime session."""
    model = scratch / "iris.onnx"
    pillion, http, _, body = _pillion(scratch, model, "label")
    limit_port, mlserver_port = free_port(), free_port()
    limit = Process(
        "limit",
        [sys.executable, BENCH / "servers" / "limit_rest.py", model, str(limit_port)],
        SERVER_CPU,
        scratch / "limit.log",
    )
    mlserver = _mlserver(scratch, model, "onnx_runtime.OnnxModel", mlserver_port)
    return [
        _rest("Pillion", pillion, http, body, "/v2/health/ready"),
        _rest("limit", limit, limit_port, body, None),
        _rest("MLServer", mlserver, mlserver_port, body, "/v2/health/ready"),
    ]


def grpc_contestants(scratch: Path) -> list[Contestant]:
    """The gRPC servers, with the ONNX model and raw tensors: Pillion as it comes, and bare grpc.aio."""
    from bench.grpc_client import check, is_ready

    model = scratch / "iris.onnx"
    pillion, _, grpc_port, _ = _pillion(scratch, model, "label")
    port = free_port()
    limit = Process(
        "grpc.aio",
        [sys.executable, BENCH / "servers" / "limit_grpc.py", model, str(port)],
        SERVER_CPU,
        scratch / "limit-grpc.log",
    )

    def contestant(name: str, process: Process, port: int) -> Contestant:
        address = f"127.0.0.1:{port}"
        return Contestant(name, process, address, lambda: is_ready(address), lambda: check(address))

    return [contestant("Pillion", pillion, grpc_port), contestant("limit", limit, port)]
