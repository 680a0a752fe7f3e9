"""Jobs and trainings of a domain over gRPC, with messages that have types, asked by reflection, on both engines."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc_tools
import pytest
from grpc_tools import protoc

from tests.engines import ENGINE_VARIABLE, ENGINES
from tests.integration.jobs.following import ended, state
from tests.integration.own_python.program import serving
from tests.integration.own_python.test_proto import pillion
from tests.reflected import Reflected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program

JOBS, TRAININGS, RUNTIME = "nlp.NlpJobService", "nlp.NlpTrainingService", "pillion.runtime"
MOOD = Path(__file__).with_name("service.py").read_text(encoding="utf-8")
RICH = """

import dataclasses
import datetime as dt
import enum
import numpy as np
from numpy.typing import NDArray


class Tone(enum.Enum):
    WARM = "warm"
    COLD = "cold"


@dataclasses.dataclass
class Note:
    tone: Tone
    at: dt.datetime
    raw: bytes
    cover: File | None = None
    pairs: list[tuple[str, int]] = dataclasses.field(default_factory=list)


class Said(BaseModel):
    raw: bytes


class Rich(Model):
    def load(self, artifact: Path | None = None) -> None:
        pass

    @task
    def echo(self, note: Note, grid: NDArray[np.float32], either: int | str, *, more: dict[str, float]) -> tuple[
        Note, NDArray[np.float32], int | str, dict[str, float]
    ]:
        return note, grid, either, more

    @task
    def say(self, said: list[Said]) -> list[bytes]:
        return [one.raw for one in said]

    @task
    def feed(self, chunks: Iterator[str]) -> int:
        return len("".join(chunks))
"""


def started(folder: Path, *classes: str, **settings: str) -> Any:
    (folder / "service.py").write_text(MOOD + RICH)
    code, printed = pillion(folder, "--domain", "Nlp")
    assert 0 == code, printed
    return serving(folder, *(f"service.py:{name}" for name in classes), "--data-dir", str(folder / "data"), **settings)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Path:
    return tmp_path_factory.mktemp(engine)


@pytest.fixture(scope="module")
def program(folder: Path, engine: str) -> Iterator[Program]:
    with started(folder, "Mood", "Rich", **{ENGINE_VARIABLE: engine}) as program:
        assert "proto.lock does not know" not in program.printed
        yield program


@pytest.fixture
def client(program: Program) -> Iterator[Reflected]:
    with Reflected(program.ports["grpc"]) as client:
        yield client


def submitted(client: Reflected, task: str, document: object, **metadata: str) -> dict[str, str]:
    job = client.call(f"{JOBS}/Submit{task}Job", document, **metadata)
    assert "prediction" == job["kind"]
    return {"prediction_id": job["prediction_id"]}


def through(client: Reflected, job: dict[str, str]) -> str:
    """Its last state."""
    last: str = list(client.stream(f"{RUNTIME}.JobService/FollowJob", job))[-1]["state"]
    return last


def refused(client: Reflected, name: str, document: object = None, /, **metadata: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as failure:
        list(client.stream(name, document, **metadata))
    return failure.value.code(), failure.value.details() or ""


def test_a_job_takes_the_message_of_the_direct_call_and_gives_its_answer(client: Reflected) -> None:
    job = submitted(client, "Classify", {"text": "good good bad"})
    assert "COMPLETED" == through(client, job)
    direct = client.call("nlp.NlpService/ClassifyPredict", {"text": "good good bad"})
    assert {"result": "1"} == direct == client.call(f"{JOBS}/GetClassifyJobResult", job)


def test_every_type_comes_back_as_it_was_sent(client: Reflected) -> None:
    values = base64.b64encode(b"\x00\xff").decode()
    cover = {"data": values, "filename": "grün.bin", "media_type": "image/png"}
    pairs = [{"item1": "a", "item2": "1"}, {"item1": "b", "item2": "2"}]
    request = {
        "note": {"tone": "cold", "at": "2026-05-01T10:00:00Z", "raw": values, "cover": cover, "pairs": pairs},
        "grid": {"dtype": "float32", "shape": ["2", "2"], "values": [1, 2, 3, 4.5]},
        "either": {"string": "7"},
        "more": {"x": 0.5},
    }
    direct = client.call("nlp.NlpService/EchoPredict", request)
    assert "7" == direct["result"]["item3"]["string"]

    job = submitted(client, "Echo", request)
    assert "COMPLETED" == through(client, job)
    assert direct == client.call(f"{JOBS}/GetEchoJobResult", job)


def test_bytes_of_a_model_of_pydantic_are_the_same_by_every_protocol(program: Program, client: Reflected) -> None:
    sent = [{"raw": base64.b64encode(raw).decode()} for raw in ("grün".encode(), b"\xff\x00", b"")]
    expected = [one["raw"] for one in sent]

    assert {"result": expected} == client.call("nlp.NlpService/SayPredict", {"said": sent})
    assert (200, expected) == program.curl("/say", {"said": sent})
    job = submitted(client, "Say", {"said": sent})
    assert "COMPLETED" == through(client, job)
    assert {"result": expected} == client.call(f"{JOBS}/GetSayJobResult", job)


def test_the_items_of_a_task_that_streams_come_one_by_one(client: Reflected) -> None:
    job = submitted(client, "Count", {"n": 3})
    assert "COMPLETED" == through(client, job)
    assert [0, 1, 2] == [int(one["result"]) for one in client.stream(f"{JOBS}/GetCountJobResult", job)]


def test_a_file_is_one_in_the_answer_too(client: Reflected) -> None:
    sound = {"data": base64.b64encode(b"ab").decode(), "filename": "s.wav", "media_type": "audio/wav"}
    job = submitted(client, "Louder", {"sound": sound, "times": 3})
    assert "COMPLETED" == through(client, job)
    result = client.call(f"{JOBS}/GetLouderJobResult", job)["result"]
    assert (b"ababab", "grün s.wav", "audio/wav") == (
        base64.b64decode(result["data"]), result["filename"], result["media_type"],
    )  # fmt: skip


def test_it_is_the_job_that_every_other_transport_tells_of(program: Program, client: Reflected) -> None:
    job = submitted(client, "Classify", {"text": "good"}, priority="7", idempotency_key="once")
    assert job == submitted(client, "Classify", {"text": "good"}, priority="7", idempotency_key="once")
    found = ended(program, job["prediction_id"])
    assert ("COMPLETED", 7, "classify") == (found["state"], found["priority"], found["task"])
    _, answer = program.curl(f"/api/v1/task/classify/job/results?prediction_id={job['prediction_id']}")
    assert 1 == answer

    _, told = program.curl("/api/v1/task/classify/job", {"inputs": "bad bad", "parameters": {}})
    assert "COMPLETED" == ended(program, told["prediction_id"])["state"]
    by_rest = {"prediction_id": told["prediction_id"]}
    assert {"result": "-2"} == client.call(f"{JOBS}/GetClassifyJobResult", by_rest)


@pytest.mark.parametrize(
    ("method", "document", "metadata", "code", "says"),
    [
        ("SubmitClassifyJob", {}, {}, grpc.StatusCode.INVALID_ARGUMENT, "text: is missing"),
        ("SubmitClassifyJob", {"text": "x"}, {"priority": "101"}, grpc.StatusCode.INVALID_ARGUMENT, "priority: "),
        ("SubmitClassifyJob", {"text": "x"}, {"priority": ""}, grpc.StatusCode.INVALID_ARGUMENT, "priority: "),
        ("SubmitClassifyJob", {"text": "x"}, {"mm_model_id": "none"}, grpc.StatusCode.NOT_FOUND, "unknown model"),
        ("SubmitClassifyJob", {"text": "x"}, {"mm_model_id": "rich"}, grpc.StatusCode.INVALID_ARGUMENT, "has no task"),
        ("SubmitEchoJob", {"either": {"integer": "1"}}, {}, grpc.StatusCode.INVALID_ARGUMENT, "note: is missing"),
        ("GetClassifyJobResult", {}, {}, grpc.StatusCode.INVALID_ARGUMENT, "prediction_id: is missing"),
        ("GetClassifyJobResult", {"prediction_id": "none"}, {}, grpc.StatusCode.NOT_FOUND, "no prediction 'none'"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_a_job(
    client: Reflected, method: str, document: object, metadata: dict[str, str], code: grpc.StatusCode, says: str
) -> None:
    found, said = refused(client, f"{JOBS}/{method}", document, **metadata)
    assert (code, True) == (found, says in said), said


def test_a_result_is_asked_for_too_early_or_of_another_task(client: Reflected) -> None:
    job = submitted(client, "Classify", {"text": "good", "seconds": 30})
    code, said = refused(client, f"{JOBS}/GetClassifyJobResult", job)
    assert (grpc.StatusCode.FAILED_PRECONDITION, True) == (code, "has no result: it is" in said), said
    code, said = refused(client, f"{JOBS}/GetManyJobResult", job)
    assert (grpc.StatusCode.NOT_FOUND, True) == (code, "is of the task 'classify'" in said), said
    client.call(f"{RUNTIME}.JobService/CancelJob", job)
    assert "CANCELED" == through(client, job)


def test_a_failed_job_gives_its_own_error(client: Reflected) -> None:
    job = submitted(client, "Refuse", {"text": "this"})
    assert "ERRORED" == through(client, job)
    code, said = refused(client, f"{JOBS}/GetRefuseJobResult", job)
    assert (grpc.StatusCode.INVALID_ARGUMENT, True) == (code, "cannot take this" in said), said


EXAMPLES = [{"text": "nice day", "label": "1"}]


def trained(client: Reflected, parameters: object, **metadata: str) -> str:
    request = {"model_name": "typed", "parameters": parameters}
    job = client.call(f"{TRAININGS}/ClassifyMoodTrain", request, **metadata)
    assert ("training", "typed", "ClassifyMoodTrain") == (job["kind"], job["model_name"], job["task"])
    identity: str = job["training_id"]
    return identity


def test_a_training_begins_with_parameters_that_have_types(program: Program, client: Reflected) -> None:
    identity = trained(client, {"data": {"items": EXAMPLES}, "epochs": "1"}, priority="3")
    found = ended(program, identity)
    assert ("COMPLETED", 3) == (found["state"], found["priority"]), found
    logged = list(client.stream(f"{RUNTIME}.TrainingManagement/FollowTraining", {"training_id": identity}))
    assert "begins with epoch 0" in "".join(one.get("log", "") for one in logged)


def test_a_training_takes_data_from_where_they_lie_and_is_known_by_its_key(
    program: Program, client: Reflected, folder: Path
) -> None:
    file = folder / "examples.jsonl"
    file.write_text(json.dumps({"text": "nice day", "label": 1}) + "\n")
    parameters = {"data": {"uri": str(file)}, "epochs": "1"}
    identity = trained(client, parameters, idempotency_key="k")
    assert identity == trained(client, parameters, idempotency_key="k")
    assert "COMPLETED" == ended(program, identity)["state"]
    assert "COMPLETED" == state(program, identity)["state"]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"parameters": {"data": {"items": EXAMPLES}}}, "model_name"),
        ({"model_name": "a/b", "parameters": {"data": {"items": EXAMPLES}}}, "model_name"),
        ({"model_name": "x"}, "parameters.data: is missing"),
        ({"model_name": "x", "parameters": {"data": {}}}, "parameters.data: is empty"),
        ({"model_name": "x", "parameters": {"data": {"items": EXAMPLES, "uri": "/x"}}}, "it has items and a uri"),
        (
            {"model_name": "x", "parameters": {"data": {"items": [{"text": "x"}]}}},
            "parameters.data[0].label: is missing",
        ),
    ],
)
def test_a_training_that_does_not_fit_is_refused_with_the_field(client: Reflected, document: object, says: str) -> None:
    code, said = refused(client, f"{TRAININGS}/ClassifyMoodTrain", document)
    assert (grpc.StatusCode.INVALID_ARGUMENT, True) == (code, says in said), said


def test_tasks_that_take_a_stream_have_no_jobs(client: Reflected) -> None:
    assert {JOBS, TRAININGS, "nlp.NlpService"} <= client.services()
    with pytest.raises(KeyError):
        client.call(f"{JOBS}/SubmitFeedJob")


def test_the_files_compile_beside_those_of_the_runtime(folder: Path, program: Program, tmp_path: Path) -> None:
    bundled = Path(grpc_tools.__file__).parent / "_proto"
    options = [f"-I{folder / 'proto'}", f"-I{bundled}", f"--python_out={tmp_path}"]
    files = ["nlp/nlp.proto", "pillion/runtime.proto", "pillion/values.proto"]
    assert 0 == protoc.main(["protoc", *options, *files])
    assert 0 == pillion(folder, "--check")[0]


def test_what_is_switched_off_is_neither_listed_nor_answered(tmp_path: Path, engine: str) -> None:
    off = {"PILLION_JOBS__PREDICTIONS_ENABLED": "false", "PILLION_JOBS__TRAININGS_ENABLED": "false"}
    with started(tmp_path, "Mood", **off, **{ENGINE_VARIABLE: engine}) as program:
        with Reflected(program.ports["grpc"]) as client:
            assert "nlp.NlpService" in client.services()
            assert not {JOBS, TRAININGS} & client.services()
        with grpc.insecure_channel(f"127.0.0.1:{program.ports['grpc']}") as channel:
            call: Any = channel.unary_unary(f"/{JOBS}/SubmitClassifyJob")
            with pytest.raises(grpc.RpcError) as no:
                call(b"", timeout=30)
    assert grpc.StatusCode.UNIMPLEMENTED == no.value.code()


def test_inference_is_switched_off_by_itself(tmp_path: Path) -> None:
    with started(tmp_path, "Mood", PILLION_INFERENCE__ENABLED="false") as program:
        for path, body in (
            ("/v2/models/mood/infer", {"inputs": []}),
            ("/v1/models/mood:predict", {"instances": []}),
            ("/invocations", {"inputs": []}),
            ("/openai/v1/chat/completions", {"model": "mood", "messages": []}),
            ("/classify", {"text": "good"}),
            ("/mood/classify", {"text": "good"}),
            ("/api/v1/task/classify", {"inputs": "good"}),
        ):
            assert 404 == program.curl(path, body)[0], path
        for path in ("/v2/health/ready", "/v2/models/mood/ready", "/info/models", "/management/trainings"):
            assert 200 == program.curl(path)[0], path
        paths = program.curl("/openapi.json")[1]["paths"]
        assert not [path for path in paths if path.endswith(("/infer", ":predict", "/classify", "/invocations"))]
        assert {"/v2/models/{model}", "/api/v1/task/classify/job", "/api/v1/ClassifyMoodTrain"} <= paths.keys()
        with Reflected(program.ports["grpc"]) as client:
            assert {JOBS, TRAININGS} <= client.services()
            assert "nlp.NlpService" not in client.services()
            known = client.call(f"{JOBS}/SubmitClassifyJob", {"text": "good"})["prediction_id"]
        with grpc.insecure_channel(f"127.0.0.1:{program.ports['grpc']}") as channel:
            for method in ("nlp.NlpService/ClassifyPredict", "inference.GRPCInferenceService/ModelInfer"):
                call: Any = channel.unary_unary(f"/{method}")
                with pytest.raises(grpc.RpcError) as no:
                    call(b"", timeout=60)
                assert grpc.StatusCode.UNIMPLEMENTED == no.value.code()
            ready: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
            assert ready(b"", timeout=60)
        ended(program, known)
        assert (200, 1) == program.curl(f"/api/v1/task/classify/job/results?prediction_id={known}")


def test_trainings_are_for_those_who_may_manage(tmp_path: Path) -> None:
    with (
        started(tmp_path, "Mood", PILLION_MANAGEMENT__ENABLED="false") as program,
        Reflected(program.ports["grpc"]) as client,
    ):
        request = {"model_name": "x", "parameters": {"data": {"items": EXAMPLES}}}
        code, said = refused(client, f"{TRAININGS}/ClassifyMoodTrain", request)
    assert (grpc.StatusCode.PERMISSION_DENIED, True) == (code, "management.enabled" in said), said
