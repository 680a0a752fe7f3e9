"""The load generator against servers that misbehave on purpose: what it counts is what the other tests rest on."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from e2e.cluster.node import gotools
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Counts requests and answers as the test says."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.received += 1
        self.server.reply(self)

    def say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Print nothing."""


class Server(ThreadingHTTPServer):
    """An HTTP server on a free port of loopback."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = reply
        self.received = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], Server]]:
    servers: list[Server] = []

    def start(reply: Reply) -> Server:
        servers.append(Server(reply))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def program() -> Path:
    return gotools.ensure(["loadgen"])["loadgen"]


def load(program: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def good(handler: Handler) -> None:
    handler.say(200, "the answer")


def test_answers_are_counted_and_a_fifth_use_new_connections(program: Path, serve: Callable[[Reply], Server]) -> None:
    server = serve(good)

    status, result = load(program, "http", f"--url={server.url}", "--requests=100", "--rate=200", "--expect=answer")

    assert (0, 100, 0) == (status, result["requests"], result["failed"])
    assert 20 == result["newConnections"]
    assert {"200": 100} == result["codes"]
    assert 100 == server.received


def test_a_status_that_is_not_ok_is_a_failure(program: Path, serve: Callable[[Reply], Server]) -> None:
    server = serve(lambda handler: handler.say(503, "draining"))

    status, result = load(program, "http", f"--url={server.url}", "--requests=10")

    assert (1, {"status 503": 10}) == (status, result["failures"])
    assert "draining" == result["examples"][0]["detail"]


def test_latencies_are_told_for_each_kind_of_answer(program: Path, serve: Callable[[Reply], Server]) -> None:
    def slow_or_refused(handler: Handler) -> None:
        with handler.server.lock:
            refused = handler.server.received % 2
        if refused:
            handler.say(429, "full")
        else:
            time.sleep(0.5)  # what the server takes, not what the test waits for
            good(handler)

    server = serve(slow_or_refused)

    _, result = load(program, "http", f"--url={server.url}", "--requests=20", "--rate=10")

    assert {"200": 10, "429": 10} == result["codes"]
    assert 500 <= result["latencyMsByCode"]["200"]["p50"]
    assert 500 > result["latencyMsByCode"]["429"]["p50"]


def test_an_answer_without_the_expected_text_is_a_failure(program: Path, serve: Callable[[Reply], Server]) -> None:
    server = serve(good)

    status, result = load(program, "http", f"--url={server.url}", "--requests=10", "--expect=something else")

    assert (1, {"wrong answer": 10}) == (status, result["failures"])


def test_hosts_and_headers_are_sent_and_answers_told_apart(program: Path, serve: Callable[[Reply], Server]) -> None:
    server = serve(lambda handler: handler.say(200, f"{handler.headers['Host']} {handler.headers['variant']}"))
    told = [f"--answer={name}={base64.b64encode(name.encode()).decode()}" for name in ("canary", "stable")]
    asked = ("http", f"--url={server.url}", "--requests=10", "--host=iris.example.com", *told)

    _, chosen = load(program, *asked, "--header=variant=canary", "--expect=iris.example.com ")
    _, other = load(program, *asked, "--header=variant=none of both")

    assert (0, {"canary": 10}) == (chosen["failed"], chosen["answers"])
    assert (0, {"": 10}) == (other["failed"], other["answers"])


def test_an_answer_that_cannot_be_looked_for_is_refused(program: Path) -> None:
    done = subprocess.run(
        [program, "http", "--url=http://127.0.0.1:1/", "--answer=canary=*"], capture_output=True, text=True, check=False
    )

    assert 2 == done.returncode
    assert '"canary=*" is not NAME=BASE64' in done.stderr


def test_a_connection_closed_without_an_answer_is_a_failure_and_not_tried_again(
    program: Path, serve: Callable[[Reply], Server]
) -> None:
    refused: list[Handler] = []

    def answer_once(handler: Handler) -> None:
        # The second request of each connection finds it closed, as a server does that ends keep-alive too early.
        if getattr(handler, "answered", False):
            handler.close_connection = True
            refused.append(handler)
            return
        handler.answered = True  # type: ignore[attr-defined]  # a mark of this test's own
        good(handler)

    server = serve(answer_once)

    _, result = load(program, "http", f"--url={server.url}", "--requests=50", "--rate=20", "--fresh=0")

    # Half of them, or less where an answer comes so late that the next request opens a connection of its own.
    assert 0 < len(refused) == result["failed"] <= 25, result["failures"]
    assert 50 == server.received


def test_the_schedule_is_kept_while_the_server_is_slow(program: Path, serve: Callable[[Reply], Server]) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(3)
        good(handler)

    server = serve(slow)

    _, result = load(program, "http", f"--url={server.url}", "--requests=50", "--rate=100")

    assert 0 == result["failed"]
    assert 40 <= result["maxInFlight"]
    assert 30 > result["seconds"]  # and not the 150 of one after the other
    assert 3000 <= result["latencyMs"]["p50"]


def test_a_late_answer_is_a_failure(program: Path, serve: Callable[[Reply], Server]) -> None:
    def late(handler: Handler) -> None:
        time.sleep(1)
        good(handler)

    server = serve(late)

    _, result = load(program, "http", f"--url={server.url}", "--requests=5", "--timeout=200ms")

    assert {"timeout": 5} == result["failures"]


def test_nobody_listening_is_a_failure_of_every_request(program: Path, serve: Callable[[Reply], Server]) -> None:
    server = Server(good)
    url = server.url
    server.server_close()

    status, result = load(program, "http", f"--url={url}", "--requests=10")

    assert (1, {"connection refused": 10}) == (status, result["failures"])


def test_an_interrupted_run_waits_for_its_answers_and_prints_what_it_counted(
    program: Path, serve: Callable[[Reply], Server]
) -> None:
    server = serve(good)
    run = subprocess.Popen([program, "http", f"--url={server.url}", "--rate=50"], stdout=subprocess.PIPE, text=True)
    until_now(lambda: server.received >= 10)

    run.send_signal(2)
    printed, _ = run.communicate(timeout=60)

    result = json.loads(printed)
    assert (0, 0) == (run.returncode, result["failed"])
    assert server.received == result["requests"] >= 10


class Echo(grpc.GenericRpcHandler):
    """Answers what it was sent; fails every second call where `failing`."""

    def __init__(self, *, failing: bool) -> None:
        self.calls = 0
        self.variants: list[str | bytes | None] = []
        self._failing = failing

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        self.variants.append(dict(context.invocation_metadata()).get("variant"))
        if self._failing and self.calls % 2 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        return request


@pytest.mark.parametrize(("failing", "failures"), [(False, {}), (True, {"status Unavailable": 10})])
def test_grpc_calls_are_counted_and_a_failed_one_is_not_tried_again(
    program: Path, *, failing: bool, failures: dict[str, int]
) -> None:
    echo = Echo(failing=failing)
    # One thread, so that every second call is one.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), handlers=[echo])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        target = ("grpc", f"--target=127.0.0.1:{port}", "--method=/test.Echo/Call", "--body=hello", "--expect=hello")
        told = ("--header=variant=canary", "--answer=echo=ZWxsbw==")
        _, result = load(program, *target, *told, "--requests=20", "--rate=50")
    finally:
        server.stop(None).wait()

    assert failures == result["failures"]
    assert {"echo": 20 - sum(failures.values())} == result["answers"]
    assert 20 == echo.calls
    assert ["canary"] * 20 == echo.variants
