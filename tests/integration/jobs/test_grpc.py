"""Jobs and trainings over gRPC, by a client that knows nothing but reflection, on both engines."""

from __future__ import annotations

import base64
import itertools
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.engines import ENGINE_VARIABLE, ENGINES
from tests.integration.jobs.following import ended, served, state, submit
from tests.reflected import Reflected
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program

JOBS, TRAININGS = "pillion.runtime.JobService", "pillion.runtime.TrainingManagement"


@pytest.fixture(scope="module", params=ENGINES)
def program(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Program]:
    with served(tmp_path_factory.mktemp("jobs"), **{ENGINE_VARIABLE: request.param}) as program:
        yield program


@pytest.fixture
def client(program: Program) -> Iterator[Reflected]:
    with Reflected(program.ports["grpc"]) as client:
        yield client


def body(inputs: object, **parameters: object) -> str:
    document = {"inputs": inputs, "parameters": parameters}
    return base64.b64encode(json.dumps(document).encode()).decode()


def submitted(client: Reflected, task: str, inputs: object, /, key: str = "", **parameters: object) -> str:
    metadata = {"idempotency_key": key} if key else {}
    job = client.call(f"{JOBS}/SubmitJob", {"task": task, "body": body(inputs, **parameters)}, **metadata)
    identity: str = job["prediction_id"]
    return identity


def refused(client: Reflected, name: str, document: object = None, /, **metadata: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as failure:
        list(client.stream(name, document, **metadata))
    return failure.value.code(), failure.value.details() or ""


def test_a_job_is_followed_to_its_end_and_gives_what_the_direct_call_gives(client: Reflected) -> None:
    job = {"prediction_id": submitted(client, "classify", "good good bad", seconds=0.2)}

    told = list(client.stream(f"{JOBS}/FollowJob", job))
    assert ["COMPLETED"] == [one["state"] for one in told if one["state"] not in ("QUEUED", "RUNNING")]
    assert ("COMPLETED", 1.0) == (told[-1]["state"], told[-1]["progress"])
    (result,) = client.stream(f"{JOBS}/GetJobResult", job)
    assert ("application/json", b"1") == (result["media_type"], base64.b64decode(result["content"]))
    assert told[-1] == client.call(f"{JOBS}/GetJob", job)


def test_a_large_result_comes_in_pieces(client: Reflected) -> None:
    job = {"prediction_id": submitted(client, "many", 300_000)}
    list(client.stream(f"{JOBS}/FollowJob", job))

    pieces = [base64.b64decode(one["content"]) for one in client.stream(f"{JOBS}/GetJobResult", job)]
    assert [1 << 20] == [len(piece) for piece in pieces[:-1]]
    assert list(range(300_000)) == json.loads(b"".join(pieces))


def test_both_transports_tell_of_one_job(program: Program, client: Reflected) -> None:
    by_http, by_grpc = submit(program, "classify", "good"), submitted(client, "classify", "good")

    told = client.call(f"{JOBS}/GetJob", {"prediction_id": by_http})
    document = state(program, by_http)
    assert document["submission_timestamp"] == told["submission_timestamp"]
    assert "COMPLETED" == ended(program, by_grpc)["state"]
    listed = client.call(f"{JOBS}/ListJobs", {"task": "classify", "limit": 2})
    assert {by_http, by_grpc} == {job["prediction_id"] for job in listed["jobs"]}
    following = client.call(f"{JOBS}/ListJobs", {"limit": 1, "after": listed["next"]}) if "next" in listed else None
    assert following is None or by_grpc not in str(following)


def test_a_job_is_canceled_and_its_result_says_so(client: Reflected) -> None:
    job = {"prediction_id": submitted(client, "classify", "good", seconds=30)}
    assert job["prediction_id"] == client.call(f"{JOBS}/CancelJob", job)["prediction_id"]

    assert "CANCELED" == list(client.stream(f"{JOBS}/FollowJob", job))[-1]["state"]
    code, said = refused(client, f"{JOBS}/GetJobResult", job)
    assert (grpc.StatusCode.FAILED_PRECONDITION, True) == (code, "it is CANCELED" in said)


@pytest.mark.parametrize(
    ("method", "document", "code", "says"),
    [
        ("GetJob", {"prediction_id": "none"}, grpc.StatusCode.NOT_FOUND, "there is no prediction 'none'"),
        ("GetJob", {}, grpc.StatusCode.INVALID_ARGUMENT, "prediction_id: is missing"),
        ("FollowJob", {"prediction_id": "none"}, grpc.StatusCode.NOT_FOUND, "there is no prediction 'none'"),
        ("SubmitJob", {"task": "none", "body": body("x")}, grpc.StatusCode.NOT_FOUND, "there is no task 'none'"),
        ("SubmitJob", {"body": body("x")}, grpc.StatusCode.INVALID_ARGUMENT, "task: is missing"),
        ("SubmitJob", {"task": "classify", "body": body(3)}, grpc.StatusCode.INVALID_ARGUMENT, "text: "),
        (
            "SubmitJob",
            {"task": "classify", "body": body("x"), "priority": 101},
            grpc.StatusCode.INVALID_ARGUMENT,
            "priority: ",
        ),
        ("ListJobs", {"limit": 1001}, grpc.StatusCode.INVALID_ARGUMENT, "limit: write a whole number from 1 to 1000"),
        ("ListJobs", {"kind": "x"}, grpc.StatusCode.INVALID_ARGUMENT, "kind: there is no such kind"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_field(
    client: Reflected, method: str, document: object, code: grpc.StatusCode, says: str
) -> None:
    found, said = refused(client, f"{JOBS}/{method}", document)
    assert (code, True) == (found, says in said), said


def test_an_idempotency_key_is_its_callers_own_over_both_transports(program: Program, client: Reflected) -> None:
    with Reflected(program.ports["grpc"], authorization="Bearer one") as other:
        mine, again = (submitted(client, "classify", "good", key="k") for _ in range(2))
        theirs = submitted(other, "classify", "good", key="k")
    assert mine == again != theirs
    sent = ("-H", "Idempotency-Key: k", "-H", "Authorization: Bearer one")
    body_sent = {"inputs": "good", "parameters": {}}
    _, answer = program.curl("/api/v1/task/classify/job", body_sent, *sent)
    assert theirs == answer["prediction_id"], "the same caller by the other transport"
    _, answer = program.curl("/api/v1/task/classify/job", body_sent, *sent[:2], "-H", "X-API-Key: two")
    assert answer["prediction_id"] not in (mine, theirs)


def training(client: Reflected, name: str = "mine", **parameters: object) -> str:
    data = {"data": [{"text": "nice day", "label": 1}], **parameters}
    request = {"training": "ClassifyMoodTrain", "model_name": name, "parameters": data}
    identity: str = client.call(f"{TRAININGS}/StartTraining", request)["training_id"]
    return identity


def test_a_training_is_followed_while_it_prints_and_logs(program: Program, client: Reflected) -> None:
    identity = training(client, epochs=2)

    events = list(client.stream(f"{TRAININGS}/FollowTraining", {"training_id": identity}))
    printed = "".join(event.get("log", "") for event in events)
    assert "begins with epoch 0" in printed
    assert "COMPLETED" == events[-1]["job"]["state"]
    logged: list[dict[str, Any]] = list(
        client.stream(f"{TRAININGS}/FollowTraining", {"training_id": identity, "what": "METRICS"})
    )
    assert [1.0, 0.5] == [event["metrics"]["loss"] for event in logged if "metrics" in event]
    after = {"training_id": identity, "what": "METRICS", "after": logged[0]["place"]}
    rest = list(client.stream(f"{TRAININGS}/FollowTraining", after))
    assert [0.5] == [event["metrics"]["loss"] for event in rest if "metrics" in event]
    status = client.call(f"{TRAININGS}/GetTrainingStatus", {"training_id": identity})
    assert ("mine", "ClassifyMoodTrain", "COMPLETED") == (status["model_name"], status["task"], status["state"])
    assert identity in str(client.call(f"{TRAININGS}/ListTrainings", {"model_id": "mine"}))
    until_now(lambda: "training of model ClassifyMoodTrain: ok" in program.printed)


def test_a_training_that_comes_again_is_known_by_its_key_in_whatever_order_its_parameters_come(
    client: Reflected,
) -> None:
    parameters = {"data": [{"text": "nice day", "label": 1}], "epochs": 1, "seconds": 0}
    orders = [dict(pairs) for pairs in itertools.permutations(parameters.items())]
    request = {"training": "ClassifyMoodTrain", "model_name": "again"}
    begun = {
        client.call(f"{TRAININGS}/StartTraining", request | {"parameters": one}, idempotency_key="t")["training_id"]
        for one in orders
    }
    assert 1 == len(begun)


LARGE = 2**53 + 1


def test_a_whole_number_that_a_double_cannot_hold_is_the_same_by_either_protocol(
    program: Program, client: Reflected
) -> None:
    parameters = {"data": [{"label": LARGE, "text": "nice day"}], "epochs": 1}
    request = {"training": "ClassifyMoodTrain", "model_name": "large", "parameters_json": json.dumps(parameters)}
    begun = client.call(f"{TRAININGS}/StartTraining", request, idempotency_key="large")["training_id"]

    body = json.dumps({"model_name": "large", "parameters": parameters}, separators=(",", ":"), sort_keys=True)
    key = ("-H", "Idempotency-Key: large")
    status, answer = program.curl("/api/v1/ClassifyMoodTrain", body, *key)
    assert (202, begun) == (status, answer["training_id"])
    rounded = program.curl("/api/v1/ClassifyMoodTrain", body.replace(str(LARGE), str(LARGE - 1)), *key)
    assert (400, True) == (rounded[0], "came with another request" in rounded[1]["details"])


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (
            {"parameters": {"data": [{"text": "a", "label": 1}, {"text": "b", "label": LARGE}]}},
            "parameters.data[1].label: 9007199254740992 may have been another number: a Struct holds whole ones below",
        ),
        ({"parameters": {"data": [], "epochs": -LARGE}}, "parameters.epochs: -9007199254740992 may have been another"),
        ({"parameters": {"epochs": 1}, "parameters_json": "{}"}, "parameters_json: parameters are there as well"),
        ({"parameters_json": "{"}, "parameters_json: is not valid JSON"),
        ({"parameters_json": "[1]"}, "parameters_json: should be a JSON object"),
        ({"parameters_json": '{"epochs": "many"}'}, "parameters.epochs: should be a valid integer"),
    ],
)
def test_parameters_that_cannot_be_taken_are_refused_with_the_field(
    client: Reflected, sent: dict[str, object], says: str
) -> None:
    request = {"training": "ClassifyMoodTrain", "model_name": "x", **sent}
    code, said = refused(client, f"{TRAININGS}/StartTraining", request)
    assert (grpc.StatusCode.INVALID_ARGUMENT, True) == (code, says in said), said


def test_a_number_that_is_declared_with_a_fraction_may_be_as_large_as_doubles_are(client: Reflected) -> None:
    training(client, "wide", seconds=1e300, epochs=0)


def test_a_training_is_canceled(client: Reflected) -> None:
    identity = training(client, seconds=60)
    client.call(f"{TRAININGS}/CancelTraining", {"training_id": identity})

    events = list(client.stream(f"{TRAININGS}/FollowTraining", {"training_id": identity}))
    assert "CANCELED" == events[-1]["job"]["state"]


def test_a_training_that_is_not_there_or_does_not_fit_is_refused(client: Reflected) -> None:
    request = {"training": "ClassifyMoodTrain", "model_name": "x", "parameters": {"epochs": "many"}}
    code, said = refused(client, f"{TRAININGS}/StartTraining", request)
    assert (grpc.StatusCode.INVALID_ARGUMENT, True) == (code, "epochs" in said), said
    code, said = refused(client, f"{TRAININGS}/StartTraining", {"training": "NoTrain"})
    assert (grpc.StatusCode.NOT_FOUND, True) == (code, "trainings: ClassifyMoodTrain" in said), said


def test_a_follower_that_leaves_ends_the_call(program: Program, client: Reflected) -> None:
    job = {"prediction_id": submitted(client, "classify", "good", seconds=20)}
    stream = client.stream(f"{JOBS}/FollowJob", job)
    next(stream)
    stream.close()

    client.call(f"{JOBS}/CancelJob", job)
    assert "CANCELED" == ended(program, job["prediction_id"])["state"]
    assert "unexpected failure" not in program.printed


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_switched_off_is_neither_listed_nor_answered(
    tmp_path_factory: pytest.TempPathFactory, engine: str
) -> None:
    off = {"PILLION_JOBS__PREDICTIONS_ENABLED": "false", "PILLION_MANAGEMENT__ENABLED": "false"}
    with (
        served(tmp_path_factory.mktemp("off"), **off, **{ENGINE_VARIABLE: engine}) as program,
        Reflected(program.ports["grpc"]) as client,
    ):
        assert JOBS not in client.services()
        code, _ = refused(client, f"{JOBS}/GetJob", {"prediction_id": "x"})
        assert grpc.StatusCode.UNIMPLEMENTED == code
        code, said = refused(client, f"{TRAININGS}/ListTrainings")
        assert (grpc.StatusCode.PERMISSION_DENIED, True) == (code, "management.enabled" in said), said
