"""Data ports that answer on unix sockets as well, on a real server."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest

from pillion.protocol.protos import open_inference_pb2 as pb
from tests.integration.server.process import command, environment, iris_request, served, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels


def http_over(path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost", timeout=30)


def grpc_predicts(path: Path) -> str:
    request = pb.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="X", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([5.1, 3.5, 1.4, 0.2])
    with grpc.insecure_channel(f"unix:{path}") as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        answer: pb.ModelInferResponse = call(request, timeout=30)
    return answer.model_name


@pytest.mark.parametrize("engine", ["grpcio", "asyncio"])
def test_both_ports_answer_on_a_socket_as_well_and_leave_no_file(tmp_path: Path, config: Path, engine: str) -> None:
    web, rpc = tmp_path / "http.sock", tmp_path / "grpc.sock"
    flags = ["--http-socket", str(web), "--grpc-socket", str(rpc), "--grpc-socket-mode", "660", "--grpc-engine", engine]
    with served(tmp_path, config, *flags) as server:
        with http_over(web) as client:
            assert 200 == client.post("/v2/models/iris/infer", json=iris_request()).status_code
            assert client.get("/v2/health/ready").json()["ready"]
        assert "iris" == grpc_predicts(rpc)
        assert (0o600, 0o660) == tuple(stat.S_IMODE(path.stat().st_mode) for path in (web, rpc))
        assert 200 == httpx.post(server.url("/v2/models/iris/infer"), json=iris_request(), timeout=30).status_code

        server.signal(signal.SIGTERM)
        assert 0 == server.wait()

    assert (False, False) == (web.exists(), rpc.exists())


def test_what_a_killed_process_left_is_replaced_and_a_live_one_is_not(tmp_path: Path, config: Path) -> None:
    path = tmp_path / "http.sock"
    with served(tmp_path, config, "--http-socket", str(path)) as server:
        server.signal(signal.SIGKILL)
        server.wait()
    assert path.exists()

    with served(tmp_path, config, "--http-socket", str(path)):
        with http_over(path) as client:
            assert 200 == client.get("/v2/health/live").status_code
        second = subprocess.run(
            [*command(config, "--http-socket", str(path), "--control-socket", "")],
            env=environment(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert second.returncode != 0
        assert "another process listens on it" in second.stderr
        assert "--http-socket" in second.stderr
        with http_over(path) as client:
            assert 200 == client.get("/v2/health/live").status_code


def test_a_file_in_the_way_is_kept(tmp_path: Path, config: Path) -> None:
    path = tmp_path / "http.sock"
    path.write_text("mine")

    ended = subprocess.run(
        [*command(config, "--http-socket", str(path), "--control-socket", "")],
        env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert ended.returncode != 0
    assert "a file that is no socket is in the way" in ended.stderr
    assert "mine" == path.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_another_user_cannot_connect(tmp_path: Path, config: Path) -> None:
    path = tmp_path / "http.sock"
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o755)
    with served(tmp_path, config, "--http-socket", str(path)):
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                socket.socket(socket.AF_UNIX).connect(str(path))
            except PermissionError:
                os._exit(13)
            os._exit(0)
        _, status = os.waitpid(child, 0)

    assert 13 == os.waitstatus_to_exitcode(status)


def test_models_are_managed_over_the_socket_by_the_rule_of_the_port(tmp_path: Path, iris: IrisModels) -> None:
    """A port that other machines reach wants a token, and its socket is no way around that."""
    path, config = tmp_path / "http.sock", tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    flags = ["--http-socket", str(path), "--management-enabled", "true"]
    for host, status in (("127.0.0.1", 200), ("0.0.0.0", 403)):
        with served(tmp_path, config, *flags, "--http-host", host), http_over(path) as client:
            assert status == client.post("/v2/repository/models/iris/load").status_code


def test_several_workers_cannot_share_a_socket(tmp_path: Path, config: Path) -> None:
    ended = subprocess.run(
        [*command(config, "--http-socket", str(tmp_path / "s"), "--workers", "2")],
        env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert ended.returncode != 0
    assert "http.socket is set and workers is 2" in ended.stderr
