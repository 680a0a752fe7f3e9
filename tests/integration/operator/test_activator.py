"""The activator as a program, between real clients, real servers and a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from tests.certificates import Authority
from tests.integration.operator.activating import ActivatorProcess, Asleep, activating, serving
from tests.integration.operator.harness import Api, eventually
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane

_METHOD = "/test.Echo/Call"


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the length of what came, after as long as the query says."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    await asyncio.sleep(float(scope["query_string"] or 0))
    text = str(length).encode()
    head = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text})


class _Echo(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request) if details.method == _METHOD else None


@pytest.fixture
def grpc_port() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(4), handlers=[_Echo()])
    port = server.add_insecure_port("0.0.0.0:0")
    server.start()
    yield port
    server.stop(None)


@pytest.fixture
def activator(cluster: ControlPlane, tmp_path: Path) -> Iterator[ActivatorProcess]:
    with activating(cluster.kubeconfig, tmp_path / "activator.log") as process:
        yield process


@contextlib.contextmanager
def in_background(call: Any, *arguments: Any) -> Iterator[Any]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call, *arguments)


def post(url: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=WITHIN) as client:
        return client.post(url, content=b"12345")


def connect(asleep: Asleep, port: str) -> socket.socket:
    return socket.create_connection((asleep.address, asleep.ports[port]), timeout=60)


def test_a_request_is_held_asks_for_one_pod_and_is_answered_by_it(
    activator: ActivatorProcess, api: Api, namespace: str
) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)

    with serving(echo) as port, in_background(post, f"http://{asleep.address}:{asleep.ports['http']}/") as answer:
        asleep.woken()
        assert not answer.done()
        asleep.ready(http=port)
        assert (200, "5") == (answer.result().status_code, answer.result().text)

    assert 1 == asleep.replicas
    eventually(lambda: activator.metric("wakes_total") == 1)


def test_frames_without_a_request_are_not_held_without_end(
    activator: ActivatorProcess, api: Api, namespace: str
) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)
    window_update = bytes((0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1))

    with connect(asleep, "http") as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with pytest.raises(ConnectionError):
            client.sendall(window_update * 1_000_000)

    eventually(lambda: activator.metric("refused_total", '{reason="protocol"}') == 1)
    assert 0 == asleep.replicas


def test_https_is_passed_through_to_the_certificate_of_the_pod(
    activator: ActivatorProcess, api: Api, namespace: str, tmp_path: Path
) -> None:
    authority = Authority()
    cert, key = authority.issue().write(tmp_path)
    trust = ssl.create_default_context(cadata=authority.pem)
    asleep = Asleep(api, namespace, "https").known_to(activator)

    def call() -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=WITHIN, verify=trust) as client:
            url = f"https://{asleep.address}:{asleep.ports['https']}/"
            return client.post(url, content=b"12345", extensions={"sni_hostname": "localhost"})

    with serving(echo, ssl_certfile=cert, ssl_keyfile=key) as port, in_background(call) as answer:
        asleep.woken()
        asleep.ready(https=port)
        assert "5" == answer.result().text


def test_an_idle_grpc_channel_asks_for_nothing_and_its_first_call_is_held_and_answered(
    activator: ActivatorProcess, api: Api, namespace: str, grpc_port: int
) -> None:
    asleep = Asleep(api, namespace, "grpc").known_to(activator)

    async def use() -> list[bytes]:
        async with grpc.aio.insecure_channel(f"{asleep.address}:{asleep.ports['grpc']}") as channel:
            # Connected means that the server's SETTINGS have come.
            await asyncio.wait_for(channel.channel_ready(), 60)
            assert 0 == asleep.replicas
            assert 0 == activator.metric("waiting")
            call: Any = channel.unary_unary(_METHOD)
            first = asyncio.ensure_future(call(b"first"))
            await asyncio.to_thread(asleep.woken)
            assert not first.done()
            asleep.ready(grpc=grpc_port)
            answers = [await asyncio.wait_for(first, 60)]
            # The connection goes on: nothing that either side has to hear of the other is missing or there twice.
            answers += await asyncio.gather(*(call(b"%d" % number) for number in range(50)))
            answers.append(await call(b"x" * 3_000_000))
            assert grpc.ChannelConnectivity.READY == channel.get_state()
            return answers

    answers = asyncio.run(use())

    assert [b"first", *(b"%d" % number for number in range(50)), b"x" * 3_000_000] == answers


def test_a_connection_that_says_nothing_asks_for_nothing(activator: ActivatorProcess, api: Api, namespace: str) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)

    with connect(asleep, "http") as client:
        eventually(lambda: activator.metric("connections") == 1)
        assert 0 == asleep.replicas
        client.sendall(b"G")
        asleep.woken()


def test_where_no_pod_comes_in_time_http_is_told_when_to_ask_again_and_others_are_closed(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    with activating(cluster.kubeconfig, tmp_path / "activator.log", wait_seconds=1) as activator:
        asleep = Asleep(api, namespace, "http", "https").known_to(activator)

        answer = post(f"http://{asleep.address}:{asleep.ports['http']}/")
        assert (503, "5", "close") == (
            answer.status_code,
            answer.headers["retry-after"],
            answer.headers["connection"],
        )
        assert "iris-predictor had no pod that is ready within 1 s; ask again\n" == answer.text
        with connect(asleep, "https") as client:
            client.sendall(b"\x16\x03\x01")
            assert b"" == client.recv(100)
        eventually(lambda: activator.metric("refused_total", '{reason="timeout"}') == 2)


def test_connections_are_bounded_and_one_that_leaves_makes_room(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    log = tmp_path / "activator.log"
    with activating(cluster.kubeconfig, log, max_connections_per_service=2) as activator:
        asleep = Asleep(api, namespace, "http").known_to(activator)
        with connect(asleep, "http") as one, connect(asleep, "http") as two:
            one.sendall(b"GET / HTTP/1.1\r\n\r\n")
            two.sendall(b"GET / HTTP/1.1\r\n\r\n")
            eventually(lambda: activator.metric("waiting") == 2)
            with connect(asleep, "http") as three, contextlib.suppress(ConnectionResetError):
                assert b"" == three.recv(1)
            eventually(lambda: activator.metric("refused_total", '{reason="limit"}') == 1)
        # Both have left while they waited.
        eventually(lambda: activator.metric("connections") == 0)
        with serving(echo) as port:
            asleep.ready(http=port)
            assert 200 == post(f"http://{asleep.address}:{asleep.ports['http']}/").status_code


def test_what_is_held_of_a_request_is_bounded_and_nothing_of_it_is_lost(
    activator: ActivatorProcess, api: Api, namespace: str
) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)
    body = bytes(64 * 1024 * 1024)

    def call() -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=WITHIN) as client:
            return client.post(f"http://{asleep.address}:{asleep.ports['http']}/", content=body)

    before = resident(activator.pid)
    with serving(echo) as port, in_background(call) as answer:
        asleep.woken()
        asleep.ready(http=port)
        assert str(len(body)) == answer.result().text
    assert resident(activator.pid) - before < 8 * 1024 * 1024


def test_a_thousand_held_connections_with_a_mebibyte_each_stay_within_a_fraction_of_the_memory_limit(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    number, body = 1000, bytes(1024 * 1024)
    head = f"POST / HTTP/1.1\r\nHost: iris\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answers = []

    async def call(asleep: Asleep) -> None:
        reader, writer = await asyncio.open_connection(asleep.address, asleep.ports["http"])
        writer.write(head.encode() + body)
        answers.append(await asyncio.wait_for(reader.read(), 300))
        writer.close()

    async def calls(asleep: Asleep, woken: threading.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                group.create_task(call(asleep))
            await asyncio.to_thread(woken.wait, 300)

    with activating(cluster.kubeconfig, tmp_path / "activator.log", max_connections_per_service=number) as activator:
        asleep = Asleep(api, namespace, "http").known_to(activator)
        before, woken = resident(activator.pid), threading.Event()
        with (
            many_files(),
            serving(echo, backlog=number) as port,
            in_background(asyncio.run, calls(asleep, woken)) as all_done,
        ):
            eventually(lambda: activator.metric("waiting") == number)
            eventually(lambda: activator.metric("held_bytes") >= 32 * 1024 * 1024)
            held = resident(activator.pid) - before
            asleep.ready(http=port)
            woken.set()
            all_done.result()
        after = peak(activator.pid) - before
    assert number == sum(answer.endswith(str(len(body)).encode()) for answer in answers)
    assert after < 192 * 1024 * 1024, f"{held >> 20} MiB while they wait, {after >> 20} MiB at most"


def test_an_old_connection_ends_once_it_is_quiet_and_not_while_an_answer_is_due(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    log = tmp_path / "activator.log"
    young = {"connection_age_seconds": 1, "connection_quiet_seconds": 1}
    with activating(cluster.kubeconfig, log, **young) as activator, serving(echo, timeout_keep_alive=600) as port:
        asleep = Asleep(api, namespace, "http").known_to(activator)
        asleep.ready(http=port)
        with connect(asleep, "http") as client:
            # Older than a connection may get before there is an answer at all.
            client.sendall(b"GET /?2.5 HTTP/1.1\r\nHost: iris\r\n\r\n")
            began = time.monotonic()
            assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
            assert time.monotonic() - began >= 2.5
            while client.recv(4096):
                pass  # The rest of that answer, then the end.


def test_a_pod_that_is_gone_already_is_passed_over_and_another_is_asked_for(
    activator: ActivatorProcess, api: Api, namespace: str
) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)
    with socket.socket() as unused:
        unused.bind((asleep.address, 0))
        # Bound, and not listened on: refused, as by a pod whose server has ended before its endpoint is withdrawn.
        asleep.ready(http=unused.getsockname()[1])
        with in_background(post, f"http://{asleep.address}:{asleep.ports['http']}/") as answer, serving(echo) as port:
            asleep.woken()
            slices = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
            path = f"{slices.format(namespace)}/iris-predictor-x7k2p"
            moved = {"ports": [{"name": "http", "port": port, "protocol": "TCP"}]}
            api.send("PATCH", path, moved, "application/merge-patch+json").raise_for_status()
            assert "5" == answer.result().text


def test_two_activators_give_a_deployment_one_replica_and_leave_one_that_has_some_alone(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    asleep = Asleep(api, namespace, "http")
    since = api.get("Deployment", namespace, "iris-predictor")
    assert since is not None
    with (
        activating(cluster.kubeconfig, tmp_path / "first.log", host=asleep.address) as first,
        activating(cluster.kubeconfig, tmp_path / "second.log", host="127.0.0.1") as second,
    ):
        asleep.known_to(first).known_to(second)
        address = ("127.0.0.1", asleep.ports["http"])
        with connect(asleep, "http") as one, socket.create_connection(address, timeout=60) as two:
            one.sendall(b"GET / HTTP/1.1\r\n\r\n")
            two.sendall(b"GET / HTTP/1.1\r\n\r\n")
            asleep.woken()
            api.patch("Deployment", namespace, "iris-predictor", {"spec": {"replicas": 3}}, subresource="scale")
            eventually(lambda: first.metric("waiting") == second.metric("waiting") == 1)
            eventually(lambda: first.metric("wakes_total") + second.metric("wakes_total") == 1)
    states = api.history("Deployment", namespace, since["metadata"]["resourceVersion"])
    counts = [state["spec"]["replicas"] for state in states]
    assert [1, 3] == [count for count, _ in itertools.groupby(counts) if count]


def test_a_stopping_activator_is_unready_takes_connections_on_and_lets_them_end(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    log = tmp_path / "activator.log"
    with activating(cluster.kubeconfig, log, drain_seconds=6, finish_seconds=60) as activator, serving(echo) as port:
        asleep = Asleep(api, namespace, "http").known_to(activator)
        asleep.ready(http=port)
        url = f"http://{asleep.address}:{asleep.ports['http']}/"
        with in_background(post, f"{url}?4") as slow:
            eventually(lambda: activator.metric("connections") == 1)
            activator.terminate()
            eventually(lambda: activator.ask("/readyz").status_code == 503)
            assert "it is stopping\n" == activator.ask("/readyz").text
            assert "5" == post(url).text
            assert "5" == slow.result().text
        assert 0 == activator.wait()


def test_a_service_that_is_stopped_is_not_woken_by_who_waits_for_it_still(
    activator: ActivatorProcess, api: Api, namespace: str
) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)
    with connect(asleep, "http") as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        asleep.woken()
        # As the operator does: the slice goes, then the pods.
        api.delete("EndpointSlice", namespace, "iris-predictor-activator")
        # Other tests of the module leave theirs on the same API server.
        eventually(lambda: f"{namespace}/iris-predictor:http" not in activator.ask("/routes").json().values())
        api.patch("Deployment", namespace, "iris-predictor", {"spec": {"replicas": 0}}, subresource="scale")
        assert 1 == activator.metric("waiting")
        # Longer than it takes who waits to look again.
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert 0 == asleep.replicas
            time.sleep(0.2)


def test_a_server_is_told_when_its_client_has_been_reset(activator: ActivatorProcess, api: Api, namespace: str) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)
    with socket.create_server(("0.0.0.0", 0)) as server:
        asleep.ready(http=server.getsockname()[1])
        with connect(asleep, "http") as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            accepted, _ = server.accept()
            # Closed at once, as by a process that is killed with bytes it has not read.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with accepted:
            accepted.settimeout(60)
            heard = accepted.recv(1024)
            assert heard.startswith(b"GET")
            assert b"" == accepted.recv(1024)
    eventually(lambda: activator.metric("connections") == 0)


def test_a_client_whose_body_is_not_read_is_told_all_the_same_that_no_pod_came(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    with activating(cluster.kubeconfig, tmp_path / "activator.log", wait_seconds=1) as activator:
        asleep = Asleep(api, namespace, "http").known_to(activator)
        with connect(asleep, "http") as client:
            client.sendall(b"POST / HTTP/1.1\r\n\r\n")
            # More than is held: the rest is taken when the answer has been sent.
            client.sendall(bytes(8 * 1024 * 1024))
            assert client.recv(1024).startswith(b"HTTP/1.1 503 ")


def test_one_that_stops_ends_those_who_wait_without_an_error(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    log = tmp_path / "activator.log"
    with activating(cluster.kubeconfig, log, drain_seconds=0, finish_seconds=0.5) as activator:
        asleep = Asleep(api, namespace, "http").known_to(activator)
        with connect(asleep, "http") as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            asleep.woken()
            activator.terminate()
            assert 0 == activator.wait()
        assert "Traceback" not in activator.log()


def test_it_opens_as_many_files_as_it_may(cluster: ControlPlane, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        with activating(cluster.kubeconfig, tmp_path / "activator.log") as activator:
            assert (hard, hard) == resource.prlimit(activator.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        ({"ports": {"http": 10_250}}, "port 10250 is not from 20000 to 29999"),
        ({"ports": {"http": 29_991}, "name": "mine"}, "it is not called 'iris-predictor-activator'"),
        ({"ports": {"http": 29_992}, "uid": "3f1c"}, "is not the controller among its ownerReferences"),
    ],
)
def test_a_slice_that_is_not_the_operators_is_not_listened_for_and_the_log_says_why(
    activator: ActivatorProcess, api: Api, namespace: str, forged: dict[str, Any], why: str
) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)
    if "name" not in forged:
        api.delete("EndpointSlice", namespace, "iris-predictor-activator")
    asleep.map(**forged)

    eventually(lambda: why in activator.log())
    assert str(forged["ports"]["http"]) not in activator.ask("/routes").json()
    eventually(lambda: activator.metric("slices_distrusted") >= 1)


def test_a_service_that_is_gone_is_not_listened_for_any_more(
    activator: ActivatorProcess, api: Api, namespace: str
) -> None:
    asleep = Asleep(api, namespace, "http").known_to(activator)

    api.delete("InferenceService", namespace, "iris")

    eventually(lambda: str(asleep.ports["http"]) not in activator.ask("/routes").json())


def test_a_wrong_setting_ends_it_with_a_sentence_that_names_it() -> None:
    environment = {"PATH": os.environ["PATH"], "PILLION_ACTIVATOR_MAX_CONNECTIONS": "0"}

    ended = subprocess.run(
        [sys.executable, "-m", "pillion_operator.activator"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == ended.returncode
    assert ended.stderr.startswith("pillion-activator: ")
    assert "max_connections" in ended.stderr.lower()
    assert "Traceback" not in ended.stderr


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    """Let this process open as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes. Source: proc(5), VmHWM."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096
