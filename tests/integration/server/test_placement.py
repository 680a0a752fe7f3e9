"""Models spread over three real servers, each of which answers for all: what it does not have it passes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from pillion import placementfile
from pillion.modelsfile import DeclaredModel, dump
from pillion.placementfile import Peer, Placed, PlacementFile
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.transport.elsewhere import ABSENT, FORWARDED
from tests.integration.server.process import served
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.integration.server.process import ServerProcess

CLASS = '''
import asyncio
import pathlib

import numpy as np
from numpy.typing import NDArray

from pillion import Model, task

HERE = pathlib.Path({here!r})


class Scaled(Model):
    """Takes a number below zero for a wish to wait."""

    def reconfigure(self, config):
        self.factor = config["factor"]

    async def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        if x[0] < 0:
            (HERE / "begun").touch()
            try:
                await asyncio.Event().wait()
            finally:
                (HERE / "cancelled").touch()
        return self.factor * x

    @task
    def count(self, number: int):
        """Numbers one after another."""
        for one in range(number):
            yield self.factor * one
'''
NAMES = [f"m{number}" for number in range(6)]
KEY = "word"


class Three:
    """Three servers that follow one folder, as pods do one ConfigMap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volume = folder / "sources" / "pvc" / "disk" / "scaled"
        self.volume.mkdir(parents=True)
        (self.volume / "service.py").write_text(CLASS.format(here=str(folder)))
        self.declared = folder / "declared"
        self.declared.mkdir()
        self.servers: dict[str, ServerProcess] = {}

    def env(self, pod: str) -> dict[str, str]:
        return {
            "PILLION_POD_NAME": pod,
            "PILLION_MODELS__DECLARED": str(self.declared / "models.json"),
            "PILLION_MODELS__DECLARED_FOLDER": str(self.folder / f"files-{pod}"),
            "PILLION_MODELS__DECLARED_SOURCES": str(self.folder / "sources"),
            "PILLION_AUTH__API_KEY": KEY,
            "PILLION_HTTP__TRUSTED_PROXIES": "127.0.0.1",
        }

    def declare(self) -> None:
        uri = f"file://{self.volume}"
        models = (
            DeclaredModel(
                id=f"{name}/1", name=name, version="1", uri=uri, format="python", trust_code=True,
                config={"factor": number + 1},
            )
            for number, name in enumerate(NAMES)
        )  # fmt: skip
        self._write("models.json", dump(tuple(models)))

    def place(self, places: Mapping[str, Placed], **others: Peer) -> None:
        """Say who has which model."""
        pods = {
            name: Peer(address="127.0.0.1", http=server.ports["http"], grpc=server.ports["grpc"])
            for name, server in self.servers.items()
        }
        self._write("placement.json", placementfile.dump(PlacementFile(pods=pods | others, models=dict(places))))

    def _write(self, name: str, text: str) -> None:
        fresh = self.declared / f"{name}.new"
        fresh.write_text(text)
        fresh.rename(self.declared / name)

    def loaded(self, pod: str) -> set[str]:
        declared = self.servers[pod].admin("/status").json()["declared"]
        return {one["name"] for one in declared if one["state"] == "Ready"}

    def post(self, pod: str, model: str, number: float, **headers: str) -> httpx.Response:
        url = self.servers[pod].url(f"/v2/models/{model}/infer")
        shown = {"Authorization": f"Bearer {KEY}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(url, json=body(number), headers=shown, timeout=60)

    def ask(self, pod: str, model: str, number: float = 1) -> float:
        answer = self.post(pod, model, number)
        assert 200 == answer.status_code, answer.text
        value: float = answer.json()["outputs"][0]["data"][0]
        return value

    @contextlib.contextmanager
    def calls(self, pod: str) -> Iterator[Any]:
        """A channel; the stubs' calls cannot be told their messages."""
        with grpc.insecure_channel(f"127.0.0.1:{self.servers[pod].ports['grpc']}") as channel:
            yield channel


def body(number: float) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [number]}]}


def message(model: str, number: float) -> bytes:
    request = pb.ModelInferRequest(model_name=model, id=f"of {model}")
    tensor = request.inputs.add(name="x", datatype="FP64", shape=[1])
    tensor.contents.fp64_contents.append(number)
    return request.SerializeToString()


def number_in(answer: bytes) -> float:
    response = pb.ModelInferResponse.FromString(answer)
    return response.outputs[0].contents.fp64_contents[0]


SHOWN = (("authorization", f"Bearer {KEY}"),)
INFER, STREAM = (f"/inference.GRPCInferenceService/{name}" for name in ("ModelInfer", "ModelStreamInfer"))
SPREAD = {name: Placed(pods=("abc"[number // 2],)) for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    folder = tmp_path_factory.mktemp("three")
    config = folder / "runtime.yaml"
    config.write_text("apiVersion: runtime.pillion.dev/v1\n")
    found = Three(folder)
    with contextlib.ExitStack() as stack:
        for pod in "abc":
            own = folder / pod
            own.mkdir()
            found.servers[pod] = stack.enter_context(served(own, config, ready=False, env=found.env(pod)))
        # Not placed yet: they wait with what is declared, and load nothing.
        found._write("placement.json", placementfile.dump(PlacementFile()))
        found.declare()
        found.place(SPREAD)
        for server in found.servers.values():
            server.wait_ready()
        yield found


@pytest.fixture
def spread(three: Three) -> Three:
    """The same with two models in each again."""
    three.place(SPREAD)
    until_now(lambda: all(len(three.loaded(pod)) == 2 for pod in "abc"))
    return three


def test_each_loads_its_share_and_answers_for_all(spread: Three) -> None:
    assert [{"m0", "m1"}, {"m2", "m3"}, {"m4", "m5"}] == [spread.loaded(pod) for pod in "abc"]
    for pod in "abc":
        assert [2.0, 4.0, 6.0, 8.0, 10.0, 12.0] == [spread.ask(pod, name, 2) for name in NAMES]
        assert 4 <= spread.servers[pod].counted('pillion_forwarded_requests_total{result="answered"}')
        assert 404 == spread.post(pod, "nobody", 1).status_code
        with spread.calls(pod) as channel:
            call = channel.unary_unary(INFER)
            answers = [call(message(name, 3), metadata=SHOWN, timeout=60) for name in NAMES]
        assert [3.0, 6.0, 9.0, 12.0, 15.0, 18.0] == [number_in(answer) for answer in answers]
        assert "of m5" == pb.ModelInferResponse.FromString(answers[-1]).id


def test_what_is_asked_of_a_model_is_answered_as_where_it_is(spread: Three) -> None:
    shown = {"Authorization": f"Bearer {KEY}"}
    for path in ("/v2/models/m5", "/v2/models/m5/ready", "/v1/models/m5", "/v2/models/m5/config"):
        here, there = (httpx.get(spread.servers[pod].url(path), headers=shown, timeout=60) for pod in "ca")
        assert (200, here.json()) == (there.status_code, there.json()), path
    wrong = httpx.post(spread.servers["a"].url("/v2/models/m5/infer"), json={"inputs": []}, headers=shown, timeout=60)
    assert 400 == wrong.status_code
    assert wrong.headers["x-request-id"]
    named = spread.post("a", "m5", 1, x_request_id="this-one")
    assert "this-one" == named.headers["x-request-id"]


def test_the_path_arrives_as_it_is_below_what_a_proxy_took_off_and_queries_may_have_any_characters(
    spread: Three,
) -> None:
    shown = {"Authorization": f"Bearer {KEY}", "X-Forwarded-Prefix": "/gate"}
    assert 200 == httpx.get(spread.servers["a"].url("/v2/models/m5"), headers=shown, timeout=60).status_code
    connection = http.client.HTTPConnection("127.0.0.1", spread.servers["a"].ports["http"], timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/v2/models/m5?of=<a>#|b", headers=shown)
        assert (200, "m5") == ((answer := connection.getresponse()).status, json.load(answer)["name"])


def test_a_question_without_a_key_has_no_body_kept_for_it(spread: Three) -> None:
    url = spread.servers["a"].url("/v2/models/m5/ready")
    assert 200 == httpx.get(url, timeout=60).status_code
    # The answer comes though the body does not.
    with socket.create_connection(("127.0.0.1", spread.servers["a"].ports["http"]), timeout=60) as connection:
        head = f"GET /v2/models/m5/ready HTTP/1.1\r\nHost: x\r\nContent-Length: {10**6}\r\n\r\n"
        connection.sendall(head.encode())
        assert b"HTTP/1.1 200" == connection.recv(12)


def test_who_shows_no_key_is_let_in_nowhere(spread: Three) -> None:
    for pod, headers in (("a", {}), ("a", {FORWARDED: "b"}), ("c", {FORWARDED: "a"})):
        url = spread.servers[pod].url("/v2/models/m5/infer")
        assert 401 == httpx.post(url, json=body(1), headers=headers, timeout=60).status_code
    with spread.calls("a") as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(INFER)(message("m5", 1), timeout=60)
    assert grpc.StatusCode.UNAUTHENTICATED == raised.value.code()


def test_a_request_is_passed_on_once(spread: Three) -> None:
    """However wrong the placement is: two that each take the other for the one who has it."""
    refused = spread.post("a", "m5", 1, **{FORWARDED.replace("-", "_"): "b"})
    assert (503, "1") == (refused.status_code, refused.headers[ABSENT])
    assert "passed on once already" in refused.text
    with spread.calls("a") as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(INFER)(message("m5", 1), metadata=(*SHOWN, (FORWARDED, "b")), timeout=60)
    assert grpc.StatusCode.UNAVAILABLE == raised.value.code()
    assert "'x-pillion-absent'" in str(raised.value.trailing_metadata())


def test_streams_come_back_piece_by_piece(spread: Three) -> None:
    url = spread.servers["a"].url("/m5/count")
    shown = {"Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"}
    with httpx.stream("POST", url, json={"number": 3}, headers=shown, timeout=60) as answer:
        text = "".join(answer.iter_text())
    assert (200, "text/event-stream") == (answer.status_code, answer.headers["content-type"].partition(";")[0])
    assert ["0", "6", "12"] == [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")][
        :3
    ]

    with spread.calls("a") as channel:
        sent = (message("m4", number) for number in (1, 2, 3))
        answers = list(channel.stream_stream(STREAM)(sent, metadata=SHOWN, timeout=60))
    found = [pb.ModelStreamInferResponse.FromString(one) for one in answers]
    assert [5.0, 10.0, 15.0] == [number_in(one.infer_response.SerializeToString()) for one in found]
    with spread.calls("a") as channel:  # and one for a model that is here
        (own,) = channel.stream_stream(STREAM)(iter([message("m0", 7)]), metadata=SHOWN, timeout=60)
    assert 7.0 == number_in(pb.ModelStreamInferResponse.FromString(own).infer_response.SerializeToString())


@pytest.mark.parametrize("protocol", ["rest", "grpc", "deadline"])
def test_a_client_that_leaves_ends_the_call_where_it_runs(spread: Three, protocol: str) -> None:
    begun, cancelled = spread.folder / "begun", spread.folder / "cancelled"
    for mark in (begun, cancelled):
        mark.unlink(missing_ok=True)
    if protocol == "rest":
        address = ("127.0.0.1", spread.servers["a"].ports["http"])
        content = json.dumps(body(-1)).encode()
        head = f"POST /v2/models/m5/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(head.encode() + content)
            until_now(begun.exists)
    else:
        with spread.calls("a") as channel:
            timeout = 3 if protocol == "deadline" else 60
            call = channel.unary_unary(INFER).future(message("m5", -1), metadata=SHOWN, timeout=timeout)
            until_now(begun.exists)
            if protocol == "grpc":
                call.cancel()
            else:
                assert grpc.StatusCode.DEADLINE_EXCEEDED == call.code()
    until_now(cancelled.exists)


def test_a_dead_pod_is_passed_over_and_where_nobody_has_it_the_answer_says_so(spread: Three) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        gone = Peer(address="127.0.0.1", http=port, grpc=port)
        both = Placed(pods=("c",), until=("gone",))
        places = SPREAD | {"m5": both, "m4": Placed(pods=("gone",), missing=1, why="there is no room for it")}
        spread.place(places, gone=gone)
        until_now(lambda: spread.loaded("c") == {"m5"})
        until_now(lambda: spread.post("a", "m4", 1).status_code == 503)

        assert [6.0] * 4 == [spread.ask("a", "m5") for _ in range(4)]
        nobody = spread.post("a", "m4", 1)
        with spread.calls("a") as channel:
            call = channel.unary_unary(INFER)
            assert [6.0] * 3 == [number_in(call(message("m5", 1), metadata=SHOWN, timeout=60)) for _ in range(3)]
            with pytest.raises(grpc.RpcError) as raised:
                call(message("m4", 1), metadata=SHOWN, timeout=60)

    assert "no pod serves it now: there is no room for it" in nobody.text
    assert "1" == nobody.headers["retry-after"]
    assert (grpc.StatusCode.UNAVAILABLE, True) == (raised.value.code(), "no room" in (raised.value.details() or ""))


def test_a_model_moves_without_a_failed_request(spread: Three) -> None:
    spread.place(SPREAD | {"m5": Placed(pods=("a",), until=("c",))})
    until_now(lambda: spread.ask("b", "m5") == 6.0 and "m5" in spread.loaded("a"))
    spread.place(SPREAD | {"m5": Placed(pods=("a",))})

    def left() -> bool:
        assert [6.0] * 3 == [spread.ask(pod, "m5") for pod in "abc"]
        return "m5" not in spread.loaded("c")

    until_now(left)
    assert [6.0] * 3 == [spread.ask(pod, "m5") for pod in "abc"]


def test_a_pod_that_the_placement_does_not_name_keeps_what_it_has(spread: Three) -> None:
    others = {name: server for name, server in spread.servers.items() if name != "c"}
    everyone, spread.servers = spread.servers, others
    try:
        spread.place(SPREAD | {"m4": Placed(pods=("a",)), "m5": Placed(pods=("b",))})
    finally:
        spread.servers = everyone
    until_now(lambda: "m4" in spread.loaded("a") and "m5" in spread.loaded("b"))

    assert {"m4", "m5"} == spread.loaded("c")
    assert [5.0, 6.0] == [spread.ask("c", name) for name in ("m4", "m5")]


def test_all_answer_again_after_a_pod_was_killed(spread: Three) -> None:
    """The last of this module: one server is gone after it."""
    begun = spread.folder / "begun"
    begun.unlink(missing_ok=True)
    lost = spread.servers.pop("c")
    with spread.calls("a") as channel:
        call = channel.unary_unary(INFER).future(message("m5", -1), metadata=SHOWN, timeout=60)
        until_now(begun.exists)
        os.kill(lost.process.pid, signal.SIGKILL)
        lost.wait()
        told = call.exception(timeout=60)
    # Not in words of gRPC's, by which a client would take it for its own connection.
    assert grpc.StatusCode.UNAVAILABLE == told.code()
    assert "took the request and did not answer" in told.details()
    assert "x-request-id" in dict(told.trailing_metadata())
    assert 503 == spread.post("a", "m5", 1).status_code
    assert 2.0 == spread.ask("a", "m1")

    spread.place(SPREAD | {"m4": Placed(pods=("a",)), "m5": Placed(pods=("b",))})

    until_now(lambda: "m4" in spread.loaded("a") and "m5" in spread.loaded("b"))
    until_now(lambda: spread.post("a", "m5", 1).status_code == 200 == spread.post("b", "m4", 1).status_code)
    for pod in "ab":
        assert [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] == [spread.ask(pod, name) for name in NAMES]
