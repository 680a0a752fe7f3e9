"""The decisions about trainings: the Job, the model that a service follows, what pods say. No cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pillion.resources import InferenceService, TrainingJob
from pillion.trainingpod.order import read_order
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.trained import followed, following, lacks_training
from pillion_operator.builders.training import job_of, spec_hash, wanted_changes
from pillion_operator.judge.training import training_status
from pillion_operator.observe.training_status import report_of
from pillion_operator.state.manifest import Key
from pillion_operator.state.observed import ObservedTraining
from pillion_operator.state.plan import PlanError
from pillion_operator.state.settings import RenderSettings

CREDENTIALS = StorageCredentials(env=({"name": "AWS_REGION", "value": "north"},))


def training(**spec: Any) -> TrainingJob:
    wanted = {
        "module": "/code/digits.py:Digits",
        "dataset": {"uri": "s3://data/digits.jsonl"},
        "output": {"uri": "s3://models/out"},
        **spec,
    }
    return TrainingJob.from_api(
        {
            "apiVersion": "serving.pillion.dev/v1beta1",
            "kind": "TrainingJob",
            "metadata": {"name": "digits", "namespace": "shop"},
            "spec": {field: value for field, value in wanted.items() if value is not None},
        }
    )


def made(**spec: Any) -> dict[str, Any]:
    job: dict[str, Any] = job_of(training(**spec), "6f1c", CREDENTIALS, RenderSettings())
    return job


def steps(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    pod = job["spec"]["template"]["spec"]
    return {step["name"]: step for step in [*pod.get("initContainers", []), *pod["containers"]]}


def variables(step: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in step["env"]}


def test_the_pod_is_told_what_the_manifest_says() -> None:
    job = made(
        parameters={"epochs": 2}, checkpoint={"uri": "s3://work/checkpoints/", "every": "1m30s"}, task="FitDigitsTrain"
    )

    order = read_order(variables(steps(job)["training"]))
    assert ("digits", "shop", "6f1c") == (order.name, order.namespace, order.uid)
    assert ({"epochs": 2}, "FitDigitsTrain", 90.0) == (order.parameters, order.task, order.every_seconds)
    assert order.output is not None
    assert order.checkpoint is not None
    assert ("s3://models/out", "s3://work/checkpoints") == (order.output.at, order.checkpoint.at)
    assert ("/mnt/pillion/dataset", "s3://data/digits.jsonl") == (order.dataset, order.dataset_uri)
    assert ["--uri", "s3://data/digits.jsonl", "--dest", "/mnt/pillion/dataset"] == steps(job)["storage"]["args"]


def test_claims_are_mounted_and_data_on_one_are_read_where_they_are() -> None:
    job = made(dataset={"uri": "pvc://work/data"}, output={"uri": "pvc://work/out"}, checkpoint={"uri": "pvc://fast/c"})

    order = read_order(variables(steps(job)["training"]))
    assert ["training"] == list(steps(job))
    assert "/mnt/pillion/claims/work/data" == order.dataset
    assert order.output is not None
    assert ("pvc://work/out", "file:///mnt/pillion/claims/work/out") == (order.output.uri, order.output.at)
    claims = [v["persistentVolumeClaim"]["claimName"] for v in job["spec"]["template"]["spec"]["volumes"][2:]]
    assert ["work", "fast"] == claims
    # Nothing is remote, so nothing gets credentials.
    assert "AWS_REGION" not in variables(steps(job)["training"])


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"dataset": {"uri": "pvc://work/data"}},
        {"dataset": None},
        {"dataset": {"uri": "pvc://work/data"}, "module": None, "image": "trainer:1", "command": ["train"]},
    ],
)
def test_the_rules_about_failures_name_steps_that_the_pod_has(spec: dict[str, Any]) -> None:
    job = made(**spec)

    rules = job["spec"]["podFailurePolicy"]["rules"]
    named = {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule}
    assert named
    assert named <= set(steps(job))


def test_a_variable_that_comes_twice_is_given_once() -> None:
    job = made(env=[{"name": "PILLION_PARAMETERS", "value": "theirs"}, {"name": "A", "value": "1"}])

    for step in steps(job).values():
        names = [variable["name"] for variable in step["env"]]
        assert len(names) == len(set(names))


def test_the_manifests_variables_win_over_the_credentials() -> None:
    job = made(env=[{"name": "AWS_REGION", "value": "south"}])

    assert {"south"} == {variables(step)["AWS_REGION"] for step in steps(job).values()}


def test_a_program_is_told_its_places_and_what_it_left_is_stored() -> None:
    job = made(module=None, image="trainer:1", command=["train"], parallelism=3, checkpoint={"uri": "pvc://work/c"})

    told = variables(steps(job)["training"])
    assert ["storage", "training", "output"] == list(steps(job))
    assert "/mnt/pillion/claims/work/c/6f1c" == told["PILLION_CHECKPOINTS"]
    assert (3, "Indexed") == (job["spec"]["completions"], job["spec"]["completionMode"])
    assert "readOnlyRootFilesystem" not in steps(job)["training"]["securityContext"]
    assert steps(job)["output"]["securityContext"]["readOnlyRootFilesystem"]


def test_a_disruption_counts_first_and_only_our_own_codes_fail_the_job() -> None:
    rules = made()["spec"]["podFailurePolicy"]["rules"]

    assert ["Ignore", "FailJob", "FailJob"] == [rule["action"] for rule in rules]
    assert [65] == rules[2]["onExitCodes"]["values"]
    assert not {40, 41, 42} & set(rules[1]["onExitCodes"]["values"])


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"dataset": {"uri": "/home/me/data"}}, "LocalFile", "spec.dataset.uri"),
        ({"parameters": {"text": "x" * 110_000}}, "InvalidSpec", "spec.parameters"),
        ({"dataset": {"uri": "hdfs://host/data"}}, "UnsupportedStorage", "spec.dataset.uri"),
    ],
)
def test_what_a_pod_cannot_reach_is_a_problem_with_the_field(spec: dict[str, Any], reason: str, says: str) -> None:
    with pytest.raises(PlanError) as failed:
        made(**spec)

    assert reason == failed.value.problem.reason
    assert says in failed.value.problem.text


def test_the_digest_of_the_spec_is_about_what_a_job_cannot_change() -> None:
    first = spec_hash(training())

    assert first == spec_hash(training(suspend=True, cancel=True, backoffLimit=1, deploy={"inferenceService": "a"}))
    assert first != spec_hash(training(parameters={"epochs": 2}))
    assert first != spec_hash(training(output={"uri": "s3://models/other"}))


def test_what_may_change_is_changed_and_a_queue_decides_about_suspension() -> None:
    live: dict[str, Any] = {"spec": {"suspend": True, "backoffLimit": 6, "activeDeadlineSeconds": 60}}

    assert {"spec": {"suspend": False, "activeDeadlineSeconds": None}} == wanted_changes(training(), live)
    assert {} == wanted_changes(training(queueName="batch", activeDeadlineSeconds=60), live)


def completed(name: str, at: str, **deploy: Any) -> dict[str, Any]:
    artifact = {"uri": f"s3://models/out/{name}/1", "digest": f"sha256:{'1f' * 32}"}
    return {
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"deploy": {"inferenceService": "digits", **deploy}},
        "status": {"state": "COMPLETED", "completionTime": at, "artifact": artifact},
    }


def test_a_service_follows_the_newest_training_that_is_to_be_deployed_to_it_as_a_whole() -> None:
    trainings: list[dict[str, Any]] = [
        completed("first", "2026-01-01T00:00:00Z"),
        completed("second", "2026-01-02T00:00:00Z"),
        completed("canary", "2026-01-03T00:00:00Z", canaryTrafficPercent=10),
        completed("elsewhere", "2026-01-04T00:00:00Z", inferenceService="others"),
        {**completed("failed", "2026-01-05T00:00:00Z"), "status": {"state": "ERRORED"}},
    ]
    leaving = completed("leaving", "2026-01-06T00:00:00Z")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-07T00:00:00Z"

    found = followed(Key("shop", "digits"), [*trainings, leaving])

    assert found is not None
    assert "second" == found.training
    assert followed(Key("other", "digits"), trainings) is None


@pytest.mark.parametrize("consents", [True, False])
def test_the_model_is_replaced_only_where_the_service_says_so(consents: bool) -> None:  # noqa: FBT001 - a case
    service = InferenceService.from_api(
        {
            "apiVersion": "serving.pillion.dev/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "digits", "namespace": "shop"},
            "spec": {"predictor": {"sklearn": {"env": []}, "followTrainings": consents}},
        }
    )
    newest = followed(Key("shop", "digits"), [completed("first", "2026-01-01T00:00:00Z")])

    model = following(service, newest).spec.predictor.serving_model

    assert model is not None
    assert ("s3://models/out/first/1" if consents else None) == model.storage_uri
    assert consents == (lacks_training(service) is not None)


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELED", "ERRORED"])
def test_a_terminal_state_never_changes_again(state: str) -> None:
    stored: dict[str, Any] = {
        "metadata": {"namespace": "shop", "name": "digits", "generation": 2},
        "status": {"state": state, "reason": "Because", "message": "It was so.", "progress": 40},
    }
    job: dict[str, Any] = {
        "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}
    }

    status = training_status(training(cancel=True), ObservedTraining(stored, job), (), "2026-01-01T00:00:00Z")

    assert (state, "Because", 40) == (status["state"], status["reason"], status["progress"])


def test_what_a_pod_says_is_bounded() -> None:
    told = {"progress": 0.5, "metrics": {f"m{n:03}": n for n in range(80)} | {"bad": "x"}, "warning": "w" * 900}

    report = report_of(json.dumps({"training": told}).encode())

    assert report is not None
    assert (0.5, 50, 500) == (report.progress, len(report.metrics), len(report.warning))
    assert report_of(b"[1]") is None
    assert report_of(b"no json") is None
