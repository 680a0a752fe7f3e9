"""The faults that runtimes of typed tasks are known for, each as its users met it, against a real server.

Each test has the words of its fault as its name's begin. What surrounds a fault is tested where the part at fault is.
"""

from __future__ import annotations

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from websockets.sync.client import connect

from tests.certificates import Authority
from tests.integration.own_python.leaving import leave
from tests.integration.own_python.program import serving
from tests.integration.server.process import served, write_config
from tests.integration.server.test_management_grpc import upload
from tests.reflected import Reflected
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program

SERVICE = """
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from pillion import Batch, File, Model, Run, Stream, task, train


class Words(BaseModel):
    text: str
    count: int


class Desk(Model):
    def load(self, artifact=None):
        pass

    def save(self, path: Path) -> None:
        (path / "weights").write_text("w")

    @task
    def classify(
        self, text: str, count: int = 7, share: float = 7.0, loud: bool = True, names: list[str] = ["x"]
    ) -> str:
        return repr((text, count, share, loud, names))

    @task
    def nested(self, words: Words) -> str:
        return repr(words)

    @task
    def digest(self, audio: File, language: str = "en", top: int = 3) -> str:
        return repr((len(audio.read()), language, top))

    @task(batch=Batch(max_size=8, max_delay_seconds=0.05))
    def length(self, text: list[str], add: int = 0) -> list[int]:
        return [ValueError("no text") if one == "bad" else len(one) + add for one in text]

    @task
    def tell(self, word: str) -> Iterator[str]:
        while True:
            yield word
            time.sleep(0.01)

    @task
    def work(self, number: int) -> int:
        return number

    @train
    @classmethod
    def fit(cls, data: Stream[int], *, run: Run) -> Self:
        return cls()


class Other(Model):
    @task
    def embed(self, text: str) -> int:
        return 1
"""
NOTHING = {"text": "", "count": 0, "share": 0.0, "loud": False, "names": []}
GIVEN = repr(("", 0, 0.0, False, []))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("faults")
    (folder / "inner").mkdir()
    (folder / "inner/service.py").write_text(SERVICE)
    return folder


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    settings = {
        "PILLION_MANAGEMENT__ENABLED": "true", "PILLION_MODELS__STORE": str(folder / "inner/store"),
    }  # fmt: skip
    with serving(folder / "inner", "service.py:Desk", "service.py:Other", "--data-dir", "data", **settings) as program:
        yield program


@pytest.mark.parametrize("executor", [(), ("--executor", "process", "--processes", "1")], ids=["thread", "process"])
def test_a_stream_whose_client_left_does_not_keep_its_worker(tmp_path: Path, executor: tuple[str, ...]) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    limits = {"PILLION_LIMITS__MAX_IN_FLIGHT": "1", "PILLION_LIMITS__MAX_QUEUE": "1"}
    with serving(tmp_path, "service.py:Desk", *executor, **limits) as program:
        for _ in range(5):  # the only place, again and again
            leave(program, "/tell", {"word": "a"})
            until_now(lambda: program.gauge("pillion_in_flight") == 0)
        until_now(lambda: program.gauge("pillion_abandoned_calls") == 0)
        assert 0 == program.gauge("pillion_worker_restarts_total")  # it was stopped, and not ended for computing on
        assert (200, 5) == program.curl("/work", {"number": 5})


@pytest.mark.parametrize(
    "name", ["../evil", "../../evil", "a/../../evil", "/evil", "..\\evil", "..", "a/\0/../../evil"]
)
def test_a_name_with_dots_escapes_no_folder(program: Program, folder: Path, name: str) -> None:
    before = _outside(folder)
    files = [{"filename": name, "data": base64.b64encode(b"x").decode()}]
    good = [{"filename": "m.onnx", "data": "eA=="}]
    train = "/api/v1/ClassifyDeskTrain"
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/management/models", {"model_id": "evil", "model_files": files}),
        ("POST", "/management/models", {"model_id": name, "model_files": good}),
        ("DELETE", "/management/models", {"model_id": name}),
        ("POST", train, {"model_name": name, "parameters": {"data": [1]}}),
        ("POST", train, {"model_name": "m", "output_path": name, "parameters": {"data": [1]}}),
    ]
    for method, path, body in asked:
        query = body if method == "DELETE" else None
        sent = None if method == "DELETE" else body
        answer = httpx.request(method, program.url(path), params=query, json=sent, trust_env=False)
        # 403: a path that is one, in a folder that trainings may not write to.
        refused = 403 if body.get("output_path") == "/evil" else 400
        assert refused == answer.status_code, (path, body, answer.text)
    parts = [("model_files", (name, b"x"))]
    form = httpx.post(program.url("/management/models"), data={"model_id": "evil"}, files=parts, trust_env=False)
    assert 400 == form.status_code, form.text
    with Reflected(program.ports["grpc"]) as client, pytest.raises(grpc.RpcError) as failed:
        client.call(
            "pillion.runtime.ModelManagement/UploadModel",
            upload("evil", (name, b"x")),
        )
    assert grpc.StatusCode.INVALID_ARGUMENT == failed.value.code()
    assert before == _outside(folder)


def _outside(folder: Path) -> set[str]:
    """What there is beside the folder of the server."""
    return {str(one) for one in folder.rglob("*") if "inner" not in one.parts} | {
        str(one) for one in folder.parent.glob("evil*")
    }


def test_batching_breaks_no_prediction(program: Program) -> None:
    asked = [{"text": "bad" if n % 10 == 9 else "x" * n, "add": n % 2} for n in range(60)]

    def call(body: dict[str, Any]) -> tuple[int, Any]:
        answer = httpx.post(program.url("/length"), json=body, timeout=60, trust_env=False)
        return answer.status_code, answer.json()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(call, asked))
    for number, (body, (status, answer)) in enumerate(zip(asked, answers, strict=True)):
        if body["text"] == "bad":
            assert (400, True) == (status, "no text" in answer["details"])
        else:
            assert (200, number + number % 2) == (status, answer)


def test_jobs_do_not_vanish_at_a_restart(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    asked = ("service.py:Desk", "--data-dir", "data")
    with serving(tmp_path, *asked) as program:
        identity = program.curl("/api/v1/task/work/job", {"inputs": 5})[1]["prediction_id"]
        program.process.kill()
        program.process.wait()
    with serving(tmp_path, *asked) as program:
        until_now(lambda: program.curl(f"/api/v1/task/work/job?prediction_id={identity}")[1]["state"] == "COMPLETED")
        assert (200, 5) == program.curl(f"/api/v1/task/work/job/results?prediction_id={identity}")


def test_jobs_are_purged(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    asked = ("service.py:Desk", "--data-dir", "data")
    with serving(tmp_path, *asked) as program:
        identity = program.curl("/api/v1/task/work/job", {"inputs": 5})[1]["prediction_id"]
        until_now(lambda: program.curl(f"/api/v1/task/work/job?prediction_id={identity}")[1]["state"] == "COMPLETED")
    with serving(tmp_path, *asked, PILLION_JOBS__KEEP_SECONDS="0.1") as program:
        until_now(lambda: program.curl("/management/jobs")[1]["jobs"] == [])
        status, answer = program.curl(f"/api/v1/task/work/job?prediction_id={identity}")
        assert (404, True) == (status, "jobs.keep_seconds" in answer["details"]), answer


def test_the_wrong_task_for_a_model_is_refused_with_those_it_has(program: Program) -> None:
    body = {"model_id": "other", "inputs": 5}
    for path in ("/api/v1/task/work", "/api/v1/task/work/job"):
        status, answer = program.curl(path, body)
        assert (400, True) == (status, "embed" in answer["details"]), answer
    assert 400 == program.curl("/other/work", {"number": 5})[0]
    with Reflected(program.ports["grpc"], mm_model_id="other") as client, pytest.raises(grpc.RpcError) as refused:
        client.call("desk.DeskService/WorkPredict", {"number": 5})
    assert (grpc.StatusCode.INVALID_ARGUMENT, True) == (
        refused.value.code(),
        "embed" in (refused.value.details() or ""),
    )


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"]
)
def test_a_charset_is_accepted(program: Program, kind: str) -> None:
    body = json.dumps({"inputs": 5})
    for path in ("/api/v1/task/work", "/api/v1/task/work/job", "/work"):
        sent = body if path != "/work" else '{"number": 5}'
        answer = httpx.post(program.url(path), content=sent, headers={"content-type": kind}, trust_env=False)
        assert answer.status_code in (200, 202), answer.text
    upload = httpx.post(
        program.url("/management/models"), content=b"{}", headers={"content-type": kind}, trust_env=False
    )
    assert (400, True) == (upload.status_code, "model_id" in upload.text)


def test_empty_strings_and_zeros_are_kept_whatever_they_come_by(program: Program) -> None:
    envelope = {"inputs": "", "parameters": {key: value for key, value in NOTHING.items() if key != "text"}}
    assert (200, GIVEN) == program.curl("/classify", NOTHING)
    assert (200, GIVEN) == program.curl("/api/v1/task/classify", envelope)
    identity = program.curl("/api/v1/task/classify/job", envelope)[1]["prediction_id"]
    until_now(lambda: program.curl(f"/api/v1/task/classify/job?prediction_id={identity}")[1]["state"] == "COMPLETED")
    assert (200, GIVEN) == program.curl(f"/api/v1/task/classify/job/results?prediction_id={identity}")
    assert (200, "Words(text='', count=0)") == program.curl("/nested", {"words": {"text": "", "count": 0}})
    with connect(f"ws://127.0.0.1:{program.ports['http']}/classify", proxy=None) as socket:
        socket.send(json.dumps(NOTHING))
        assert GIVEN == json.loads(socket.recv(timeout=60))
    with Reflected(program.ports["grpc"]) as client:
        answer = client.call("desk.DeskService/ClassifyPredict", {**NOTHING, "names": []})
        # A repeated field of proto3 cannot tell "none" from "not said".
        assert repr(("", 0, 0.0, False, ["x"])) == answer["result"]
    form = httpx.post(
        program.url("/api/v1/task/digest"), files={"inputs.audio": ("a", b"")},
        data={"parameters.language": "", "parameters.top": "0"}, trust_env=False,
    )  # fmt: skip
    assert repr((0, "", 0)) == form.json()


def test_tls_is_read_again(tmp_path: Path) -> None:
    from tests.integration.server.test_tls import Mounted, client_context

    ca = Authority()
    first, second = ca.issue(), ca.issue()
    mounted = Mounted(tmp_path / "tls")
    mounted.put(tls_crt=first.cert, tls_key=first.key)
    (tmp_path / "service.py").write_text(SERVICE)
    flags = [word.replace("--tls-server", "--tls") for word in mounted.flags()]
    with serving(tmp_path, "service.py:Desk", *flags, PILLION_TLS__POLL_SECONDS="0.1") as program:

        async def shown() -> int:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", program.ports["http"], ssl=client_context(ca), server_hostname="localhost"
            )
            certificate = writer.get_extra_info("peercert")
            writer.close()
            await writer.wait_closed()
            return int(certificate["serialNumber"], 16)

        assert first.serial == asyncio.run(shown())
        mounted.put(tls_crt=second.cert, tls_key=second.key)
        until_now(lambda: asyncio.run(shown()) == second.serial)


def test_health_does_not_ignore_readiness(tmp_path: Path) -> None:
    config = tmp_path / "runtime.yaml"
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    write_config(config, {"broken": tmp_path / "broken.onnx"})
    with served(tmp_path, config, ready=False) as server:
        until_now(lambda: bool(server.logged("not ready")), 60)
        health = httpx.get(server.url("/health"), trust_env=False)
        assert (503, True) == (health.status_code, "broken" in health.text)
        with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert health_pb2.HealthCheckResponse.NOT_SERVING == answer.status
