"""How the process stops: real signals, real connections, nothing lost."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import httpx
import numpy as np
import pytest

from pillion.protocol.protos import open_inference_pb2 as pb
from tests.integration.server.balancer import Balancer
from tests.integration.server.process import environment, iris_request, served
from tests.waiting import until, until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from google.protobuf.message import Message

    from tests.integration.server.process import ServerProcess

PREDICT = b'{"instances":[[5.1,3.5,1.4,0.2]]}'
HEAD = b"POST /v1/models/iris:predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(PREDICT) + PREDICT


def prestop(server: ServerProcess, *flags: str) -> subprocess.Popen[str]:
    """The hook, as the kubelet runs it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pillion.server.prestop", *flags],
        env=environment(PILLION_CONTROL__SOCKET=str(server.control)),
        text=True,
    )


async def answered(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One response: head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return head.lower(), await reader.readexactly(length)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_requests_in_progress_end_closes_idle_connections_and_exits_0(
    tmp_path: Path, config: Path, number: signal.Signals
) -> None:
    with served(tmp_path, config) as server:
        busy_reader, busy = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        idle_reader, idle = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        idle.write(WHOLE)
        await answered(idle_reader)
        busy.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(PREDICT) + PREDICT[:5])
        await busy.drain()
        until_now(lambda: server.metric("pillion_http_connections") == 2)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
            stream = channel.stream_stream(
                "/inference.GRPCInferenceService/ModelStreamInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelStreamInferResponse.FromString,
            )()
            await stream.write(grpc_request())
            assert "iris" == await next_model(stream)

            server.signal(number)
            assert b"" == await asyncio.wait_for(idle_reader.read(), 60)
            assert server.process.poll() is None

            busy.write(PREDICT[5:])
            head, body = await answered(busy_reader)
            assert head.startswith(b"http/1.1 200")
            assert b"connection: close" in head
            assert 0 == json.loads(body)["predictions"][0]["label"]

            await stream.write(grpc_request())
            assert "iris" == await next_model(stream)
            await stream.done_writing()
            assert grpc.StatusCode.OK == await stream.code()
        assert 0 == server.wait()
        server.wait_logged("stopped")
        busy.close()
        idle.close()


async def next_model(stream: grpc.aio.StreamStreamCall[Message, pb.ModelStreamInferResponse]) -> str:
    """The model that the next answer of a stream is from."""
    answer = await stream.read()
    assert isinstance(answer, pb.ModelStreamInferResponse)
    return answer.infer_response.model_name


def grpc_request() -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="iris")
    request.inputs.add(name="X", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.array([[5.1, 3.5, 1.4, 0.2]], dtype=np.float32).tobytes())
    return request


async def test_a_second_signal_cuts_what_is_left_with_an_answer_that_says_so(tmp_path: Path, config: Path) -> None:
    with served(tmp_path, config) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        writer.write(HEAD + b"Content-Length: 100\r\n\r\n")
        await writer.drain()
        until_now(lambda: server.metric("pillion_http_connections") == 1)
        server.signal(signal.SIGTERM)
        until_now(lambda: bool(server.logged("received SIGTERM")))
        assert server.process.poll() is None
        server.signal(signal.SIGTERM)
        head, body = await answered(reader)
        assert head.startswith(b"http/1.1 503")
        assert "draining" == json.loads(body)["code"]
        assert 0 == server.wait(60)
        writer.close()


async def test_the_drain_is_bounded_by_its_grace(tmp_path: Path, config: Path) -> None:
    with served(tmp_path, config, "--drain-grace-seconds", "0.5") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        writer.write(HEAD + b"Content-Length: 100\r\n\r\n")
        await writer.drain()
        until_now(lambda: server.metric("pillion_http_connections") == 1)
        server.signal(signal.SIGTERM)
        assert (await answered(reader))[0].startswith(b"http/1.1 503")
        assert 0 == server.wait(60)
        writer.close()


async def test_prestop_stays_ready_says_close_and_returns_when_the_window_has_ended(
    tmp_path: Path, config: Path
) -> None:
    with served(tmp_path, config, "--drain-window-seconds", "3", "--grpc-max-connection-age-seconds", "2") as server:
        assert 0o600 == stat.S_IMODE(server.control.stat().st_mode)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        writer.write(WHOLE)
        head, _ = await answered(reader)
        assert b"connection: close" not in head
        hook = prestop(server)
        until_now(lambda: bool(server.logged("draining: clients move on")))
        assert 200 == server.admin("/readyz").status_code
        assert server.admin("/status").json()["draining"]
        writer.write(WHOLE)
        head, _ = await answered(reader)
        assert head.startswith(b"http/1.1 200")
        assert b"connection: close" in head
        assert b"" == await asyncio.wait_for(reader.read(), 60)
        assert hook.poll() is None
        assert 0 == hook.wait(60)
        assert server.process.poll() is None
        server.signal(signal.SIGTERM)
        assert 0 == server.wait()
        assert not server.control.exists()
        writer.close()


def test_a_drain_without_deletion_is_not_ready_and_refuses_new_work(tmp_path: Path, config: Path) -> None:
    with served(tmp_path, config) as server:
        assert 0 == prestop(server, "--keep").wait(60)
        assert 503 == server.admin("/readyz").status_code
        assert 200 == server.admin("/livez").status_code
        answer = httpx.post(server.url("/v2/models/iris/infer"), json=iris_request())
        assert 503 == answer.status_code
        assert "Retry-After" in answer.headers


def test_prestop_without_a_server_has_nothing_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pillion.server.prestop", "--socket", str(tmp_path / "none.sock")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode
    assert "nothing to drain" in done.stderr


@pytest.mark.parametrize("engine", ["grpcio", "asyncio"])
async def test_no_request_is_lost_when_a_pod_is_deleted_under_load_on_http_and_grpc(
    tmp_path: Path, config: Path, engine: str
) -> None:
    flags = ("--drain-window-seconds", "2.4", "--grpc-max-connection-age-seconds", "2")
    env = {"PILLION_GRPC__ENGINE": engine}
    (tmp_path / "b").mkdir()
    with (
        served(tmp_path, config, *flags, env=env) as going,
        served(tmp_path / "b", config, *flags, env=env) as staying,
    ):
        async with Balancer(going.ports["http"]) as http, Balancer(going.ports["grpc"]) as rpc:
            over = asyncio.Event()
            failures: list[str] = []
            answers = {"http": 0, "grpc": 0}
            limits = httpx.Limits(max_keepalive_connections=8, max_connections=64)
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{http.port}", limits=limits, timeout=60)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{rpc.port}")
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )

            async def over_http() -> None:
                response = await client.post("/v2/models/iris/infer", json=iris_request())
                response.raise_for_status()
                answers["http"] += 1

            async def over_grpc() -> None:
                await infer(grpc_request(), timeout=60)
                answers["grpc"] += 1

            load = [
                asyncio.create_task(open_loop(over_http, 40, over, failures)),
                asyncio.create_task(open_loop(over_grpc, 40, over, failures)),
            ]
            await until(lambda: answers["http"] > 40 and answers["grpc"] > 40)
            # As in a cluster: the endpoint leaves the Service while the hook runs, then comes SIGTERM.
            hook = prestop(going)
            http.backend, rpc.backend = staying.ports["http"], staying.ports["grpc"]
            assert 0 == await asyncio.to_thread(hook.wait, 60)
            going.signal(signal.SIGTERM)
            assert 0 == await asyncio.to_thread(going.wait)
            seen = dict(answers)
            await until(lambda: answers["http"] > seen["http"] + 40 and answers["grpc"] > seen["grpc"] + 40)
            over.set()
            await asyncio.gather(*load)
            await client.aclose()
            await channel.close()
        assert [] == failures
        assert 0 == going.process.returncode
        assert min(answers.values()) > 150


async def open_loop(
    call: Callable[[], Coroutine[None, None, None]], rate: float, over: asyncio.Event, failures: list[str]
) -> None:
    """Start ``rate`` calls a second whether or not earlier ones have been answered, as many clients would."""
    running: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not over.is_set():
        running.add(asyncio.create_task(call()))
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - loop.time()))
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    failures.extend(repr(outcome) for outcome in outcomes if isinstance(outcome, BaseException))
