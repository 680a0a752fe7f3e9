"""Trainings as objects of the cluster: what is asked for, and what is read of them."""

from __future__ import annotations

from typing import Any

import pytest

from pillion.errors import PillionError
from pillion.jobs.asked import Submitter
from pillion.jobs.states import Job, JobKind, JobState
from pillion.jobs.store import JobFilter
from pillion.jobs.training_objects import (
    Asked,
    job_of,
    log_line,
    metrics_of,
    module_of,
    name_of,
    newest_of,
    object_of,
    page_from,
    spec_of,
)
from pillion.jobs.training_order import DataSource, TrainingRequest
from pillion.resources import NAME_LIMIT, TrainingJob
from pillion.runtimefile import Code

SHOP, BANK = Submitter("key:shop", "d1"), Submitter("key:bank", "d2")
TEMPLATE: dict[str, Any] = {"output": {"uri": "s3://models/trained"}, "serviceAccountName": "trainer"}


def spec(request: TrainingRequest, sources: dict[str, DataSource] | None = None) -> dict[str, Any]:
    return spec_of(TEMPLATE, "/app/service.py:Mood", "ClassifyMoodTrain", request, sources or {}, "mood")


def made(name: str = "mood-1", submitted: float = 1.5, caller: Submitter = SHOP, **status: Any) -> dict[str, Any]:
    asked = Asked(
        name=name,
        service="mood",
        model="mine",
        submitted=submitted,
        digest="sha",
        caller=caller,
        request_id="r-1",
        spec=spec(TrainingRequest("mine", {"epochs": 2})),
    )
    return object_of(asked, "ns") | ({"status": status} if status else {})


def test_a_key_is_one_name_for_each_caller_and_service_and_without_one_it_is_chance() -> None:
    same = name_of("mood", SHOP, "k", "aa")

    assert same == name_of("mood", SHOP, "k", "bb")
    assert 3 == len({same, name_of("mood", BANK, "k", "aa"), name_of("other", SHOP, "k", "aa")})
    assert "mood-aa" == name_of("mood", SHOP, "", "aa")
    longest = name_of("a" * 24 + "-" + "b" * 21, SHOP, "k", "")
    assert len(longest) <= NAME_LIMIT
    assert "--" not in longest


def test_what_is_asked_for_is_a_training_job_that_the_schema_takes() -> None:
    source = DataSource("s3://data/moods.jsonl")
    request = TrainingRequest("mine", {"data": {"uri": source.uri}, "epochs": 0}, deploy=True)
    found = {**made(), "spec": spec(request, {"data": source})}

    parsed = TrainingJob.from_api(found)

    assert ("/app/service.py:Mood", "ClassifyMoodTrain") == (parsed.spec.module, parsed.spec.task)
    assert {"epochs": 0} == parsed.spec.parameters
    assert {"uri": "s3://data/moods.jsonl", "parameter": "data"} == found["spec"]["dataset"]
    assert {"inferenceService": "mood"} == found["spec"]["deploy"]
    assert {"serving.pillion.dev/asked-of": "mood"} == found["metadata"]["labels"]
    assert "key:shop" == found["metadata"]["annotations"]["serving.pillion.dev/asked-by"]


def test_the_digest_of_what_an_unknown_caller_shows_is_written_nowhere() -> None:
    assert "d9" not in str(made(caller=Submitter("d9", "d9")))


@pytest.mark.parametrize(
    ("request_", "sources", "says"),
    [
        (TrainingRequest("m", output_path="/x"), {}, "output_path: in the cluster models go below s3://models/trained"),
        (TrainingRequest("m"), {"data": DataSource("file:///x.jsonl")}, "parameters.data.uri: the pod of a training"),
        (TrainingRequest("m"), {"data": DataSource("/x.jsonl")}, "parameters.data.uri: the pod of a training"),
        (TrainingRequest("m"), {"data": DataSource("s3://a/b", "part")}, "parameters.data.uri: the pod of a training"),
        (
            TrainingRequest("m"),
            {"a": DataSource("s3://a/b"), "b": DataSource("s3://a/c")},
            "parameters: a and b are both elsewhere",
        ),
        (TrainingRequest("m", {"data": ["x" * 90_000]}), {}, "put the data into storage"),
    ],
)
def test_what_no_pod_of_its_own_can_do_is_said(
    request_: TrainingRequest, sources: dict[str, DataSource], says: str
) -> None:
    with pytest.raises(PillionError, match=says):
        spec(request_, sources)


@pytest.mark.parametrize(
    ("code", "module"),
    [
        (Code(module="/app/service.py", class_name="Mood", folder="/app"), "/app/service.py:Mood"),
        (Code(module="service.py", class_name="Mood", folder="/app"), "/app/service.py:Mood"),
        (Code(module="shop.moods", class_name="Mood", folder="/app"), "shop.moods:Mood"),
    ],
)
def test_a_class_of_the_image_is_found_there(code: Code, module: str) -> None:
    assert module == module_of(code)


@pytest.mark.parametrize("module", ["/mnt/models/model.py", "/tmp/x/model.py", "/app/my service.py"])
def test_a_class_that_no_image_holds_is_refused_with_the_way_out(module: str) -> None:
    with pytest.raises(PillionError, match="build an image that holds it"):
        module_of(Code(module=module, class_name="Mood", folder="/app"))


def test_one_that_the_operator_has_not_seen_is_queued() -> None:
    job = job_of(made())

    assert ("mood-1", JobKind.TRAINING, "mine", "ClassifyMoodTrain") == (job.id, job.kind, job.model, job.task)
    assert (JobState.QUEUED, 1.5, "", "sha", "r-1") == (
        job.state, job.submitted, job.reason, job.request_digest, job.request_id,
    )  # fmt: skip


def test_one_that_runs_and_is_to_stop_says_how_far_it_is() -> None:
    running = made(state="RUNNING", reason="Running", message="The training runs.", progress=40, attempts=2)
    running["spec"]["cancel"] = True
    running["status"]["startTime"] = "2026-01-31T12:00:00Z"

    job = job_of(running)

    assert (JobState.RUNNING, "", 0.4, 2, True) == (
        job.state, job.reason, job.progress, job.attempts, job.cancel_requested,
    )  # fmt: skip
    assert 1769860800.0 == job.started


VOLUMES = [
    {"name": "a", "persistentVolumeClaim": {"claimName": "moods"}},
    {"name": "b", "configMap": {"name": "small"}},
    {"name": "c", "secret": {"secretName": "keys"}},
]


@pytest.mark.parametrize("uri", ["pvc://moods/x.jsonl", "pvc://trained/x.jsonl", "configmap://small/x.jsonl"])
def test_data_may_be_on_the_volumes_that_the_service_has(uri: str) -> None:
    template = {**TEMPLATE, "output": {"uri": "pvc://trained/models"}, "volumes": VOLUMES}

    asked = spec_of(template, "m:M", "T", TrainingRequest("mine"), {"data": DataSource(uri)}, "mood")

    assert uri == asked["dataset"]["uri"]


@pytest.mark.parametrize(
    "uri",
    ["pvc://payroll/x.jsonl", "PVC://payroll/x.jsonl", "configmap://keys/x", "configmap://moods/x", "pvc://small"],
)
def test_a_request_mounts_no_other_volumes_of_the_namespace(uri: str) -> None:
    with pytest.raises(PillionError, match=r"parameters\.data\.uri: .* is no volume of the service"):
        spec_of(
            {**TEMPLATE, "volumes": VOLUMES}, "m:M", "T", TrainingRequest("mine"), {"data": DataSource(uri)}, "mood"
        )


@pytest.mark.parametrize("value", [2**63, [-(2**63) - 1], {"a": [{"b": 10**30}]}])
def test_numbers_that_the_cluster_would_round_are_refused(value: object) -> None:
    assert {"n": [2**63 - 1, 0.5, True, "x", None]} == spec(
        TrainingRequest("mine", {"n": [2**63 - 1, 0.5, True, "x", None]})
    )["parameters"]

    with pytest.raises(PillionError, match=r"parameters\.n: a whole number in the cluster has 64 bits"):
        spec(TrainingRequest("mine", {"n": value}))


def test_one_that_has_made_its_model_says_where_it_is_and_whether_it_is_served() -> None:
    artifact = {"uri": "s3://models/trained/mood-1/1f1f", "digest": f"sha256:{'1f' * 32}", "dataDigest": "sha256:aa"}
    deployed = [{"type": "Deployed", "status": "True"}]
    job = job_of(made(state="COMPLETED", message="Done.", artifact=artifact, conditions=deployed))

    assert (JobState.COMPLETED, "") == (job.state, job.reason)
    assert {
        "training_job": "mood-1",
        "version": "1f1f1f1f1f1f",
        "path": artifact["uri"],
        "digest": artifact["digest"],
        "data_digest": "sha256:aa",
        "deployed": "true",
    } == job.details


@pytest.mark.parametrize("state", ["ERRORED", "CANCELED"])
def test_one_that_failed_says_why(state: str) -> None:
    ended = job_of(made(state=state, message="it broke", completionTime="2026-01-31T12:00:00Z"))

    assert (JobState(state), "it broke", 1769860800.0) == (ended.state, ended.reason, ended.finished)


def test_one_whose_result_was_lost_says_so() -> None:
    job = job_of(made(state="COMPLETED", message="its pod was gone"))

    assert ("its pod was gone", "unknown") == (job.reason, job.details["path"])


def test_one_that_somebody_has_tampered_with_is_read_all_the_same() -> None:
    job = job_of({"metadata": {"name": "x", "annotations": {"serving.pillion.dev/submitted": "soon"}}, "spec": None})

    assert (0.0, JobState.QUEUED) == (job.submitted, job.state)
    assert JobState.QUEUED == job_of(made(state="SLEEPING")).state


def test_pages_go_through_all_of_them_newest_first_also_those_of_one_moment() -> None:
    found = [made(f"mood-{number}", submitted=number // 3) for number in range(9)]
    shown: list[str] = []
    after: int | None = None
    while True:
        newest: list[Job] = []
        for part in (found[:4], found[4:]):
            newest = newest_of([*newest, *map(job_of, part)], JobFilter(), after, 2)
            assert len(newest) <= 3
        page = page_from(newest, 2)
        shown += [job.id for job in page.jobs]
        after = page.following
        if after is None:
            break

    assert sorted(shown) == [f"mood-{number}" for number in range(9)]
    assert [2, 2, 2, 1, 1, 1, 0, 0, 0] == [int(name[5:]) // 3 for name in shown]


@pytest.mark.parametrize(
    ("which", "names"),
    [
        (JobFilter(states=(JobState.RUNNING,)), ["b"]),
        (JobFilter(model="mine"), ["b", "a"]),
        (JobFilter(model="other"), []),
        (JobFilter(task="X"), []),
        (JobFilter(since=2.0), ["b"]),
        (JobFilter(until=2.0), ["a"]),
        (JobFilter(kind=JobKind.PREDICTION), []),
    ],
)
def test_lists_are_of_what_was_asked_for(which: JobFilter, names: list[str]) -> None:
    found = [made("a", 1.0), made("b", 2.0, state="RUNNING")]

    assert names == [job.id for job in newest_of(map(job_of, found), which, None, 10)]


def test_numbers_and_the_place_of_the_log_come_from_the_status() -> None:
    found = made(metrics={"loss": 0.5}, log="kubectl logs -n ns pod/p -c training")

    assert b'{"at":3.0,"loss":0.5}\n' == metrics_of(found, 3.0)
    assert b"The log is that of the training's pod: kubectl logs -n ns pod/p -c training\n" == log_line(found)
    assert (b"", b"") == (metrics_of(made(), 3.0), log_line(made()))
