"""The decisions about trainings: the Job, the model that a service follows, what pods say. No cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pillion.resources import InferenceService, TrainingJob
from pillion.trainingpod.order import read_order
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.job import job_changes, lifetime_change
from pillion_operator.builders.trained import followed, following, lacks_training
from pillion_operator.builders.training import job_of, spec_hash
from pillion_operator.judge.deployed import deployed
from pillion_operator.judge.training import duration_of, training_status
from pillion_operator.judge.training_pods import is_training
from pillion_operator.observe.training_status import report_of
from pillion_operator.state.manifest import Key, condition_of, is_reachable, objects_at, text_at
from pillion_operator.state.observed import ObservedTraining, TrainingReport
from pillion_operator.state.plan import PlanError, Problem
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


def test_kubernetes_puts_no_variable_in_the_place_of_what_the_manifest_says() -> None:
    job = made(dataset={"uri": "s3://data/$(AWS_SECRET_ACCESS_KEY)"}, parameters={"text": "$(HF_TOKEN) $$"})

    told = variables(steps(job)["training"])
    assert "s3://data/$$(AWS_SECRET_ACCESS_KEY)" == steps(job)["storage"]["args"][1]
    assert all("$(" not in value.replace("$$", "") for value in told.values())
    as_seen = {name: value.replace("$$", "$") for name, value in told.items()}
    assert {"text": "$(HF_TOKEN) $$"} == read_order(as_seen).parameters


def test_claims_are_mounted_and_data_on_one_are_read_where_they_are() -> None:
    job = made(
        dataset={"uri": "pvc://work/data"}, output={"uri": "pvc://work/o%20t"}, checkpoint={"uri": "pvc://fast/%c"}
    )

    order = read_order(variables(steps(job)["training"]))
    assert ["training"] == list(steps(job))
    assert "/mnt/pillion/claims/work/data" == order.dataset
    assert order.output is not None
    # What is pushed to is a URL, in which a path that stands as it is has to be written so; a checkpoint's is a folder.
    assert ("pvc://work/o%20t", "file:///mnt/pillion/claims/work/o%2520t") == (order.output.uri, order.output.at)
    assert order.checkpoint is not None
    assert "file:///mnt/pillion/claims/fast/%25c" == order.checkpoint.at
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

    assert {"spec": {"suspend": False, "activeDeadlineSeconds": None}} == job_changes(training(), live)
    assert {} == job_changes(training(queueName="batch", activeDeadlineSeconds=60), live)


def test_a_job_has_a_lifetime_only_once_its_end_is_known() -> None:
    live: dict[str, Any] = {"spec": {"suspend": False, "backoffLimit": 6, "ttlSecondsAfterFinished": 60}}

    assert "ttlSecondsAfterFinished" not in made(ttlSecondsAfterFinished=60)["spec"]
    # What a former release has put on is taken off a Job that has not ended.
    unset: dict[str, Any] = {"spec": {"ttlSecondsAfterFinished": None}}
    assert unset == job_changes(training(ttlSecondsAfterFinished=60), live)
    assert {"spec": {"ttlSecondsAfterFinished": 90}} == lifetime_change(training(ttlSecondsAfterFinished=90), live)
    assert {} == lifetime_change(training(ttlSecondsAfterFinished=60), live)
    assert unset == lifetime_change(training(), live)


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_trains_no_more_whatever_its_containers_were_last_heard_of(phase: str) -> None:
    running = {"name": "training", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    pod: dict[str, Any] = {"status": {"phase": "Running", "podIP": "10.1.2.3", "containerStatuses": [running]}}

    assert is_training(pod)
    assert is_reachable(pod)
    pod["status"]["phase"] = phase
    assert not is_training(pod)
    assert not is_reachable(pod)


def completed(name: str, at: str, **deploy: Any) -> dict[str, Any]:
    artifact = {"uri": f"s3://models/out/{name}/1", "digest": f"sha256:{'1f' * 32}"}
    return {
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"deploy": {"inferenceService": "digits", **deploy}},
        "status": {"state": "COMPLETED", "completionTime": at, "artifact": artifact},
    }


def test_a_service_follows_the_newest_training_that_is_to_be_deployed_to_it() -> None:
    trainings: list[dict[str, Any]] = [
        completed("first", "2026-01-01T00:00:00Z"),
        completed("second", "2026-01-02T00:00:00Z"),
        completed("elsewhere", "2026-01-04T00:00:00Z", inferenceService="others"),
        {**completed("failed", "2026-01-05T00:00:00Z"), "status": {"state": "ERRORED"}},
    ]
    leaving = completed("leaving", "2026-01-06T00:00:00Z")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-07T00:00:00Z"

    found = followed(Key("shop", "digits"), [*trainings, leaving])

    assert found is not None
    assert ("second", None) == (found.training, found.share)
    shared = followed(
        Key("shop", "digits"), [*trainings, completed("c", "2026-01-03T00:00:00Z", canaryTrafficPercent=9)]
    )
    assert shared is not None
    assert ("c", 9) == (shared.training, shared.share)
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


def test_a_pods_numbers_that_no_status_can_hold_are_passed_over() -> None:
    metrics = {"good": 1, "logic": True, "huge": 10**400, "text": "1"}
    text = json.dumps({"training": {"progress": 10**400, "metrics": metrics, "checkpoint": 10**30}})
    report = report_of(text.replace('"good": 1', '"good": 1, "not": NaN, "endless": Infinity').encode())

    assert TrainingReport(None, {"good": 1.0}) == report
    assert TrainingReport(1.0) == report_of(b'{"training": {"progress": 1e308, "checkpoint": true}}')
    assert TrainingReport() == report_of(b'{"training": {"progress": true, "checkpoint": -1}}')


def test_a_result_whose_numbers_no_status_can_hold_is_told_without_them() -> None:
    artifact = {"uri": "s3://models/out/digits/1", "digest": f"sha256:{'1f' * 32}", "bytes": 10**30}
    word = {"artifact": artifact, "metrics": {"good": 2, "logic": True, "huge": 10**400}}

    status = training_status(
        training(), ended("Complete", "Succeeded", 0, json.dumps(word)), (), "2026-01-01T00:00:00Z"
    )

    assert {"good": 2.0} == status["metrics"]
    assert {"uri": artifact["uri"], "digest": artifact["digest"]} == status["artifact"]


@pytest.mark.parametrize("reason", ["R" * 3000, "two words", "", 7])
def test_a_last_word_whose_reason_is_no_word_is_told_by_what_else_is_known(reason: object) -> None:
    word = json.dumps({"reason": reason, "message": "m"})

    status = training_status(training(), ended("Failed", "Failed", 65, word), (), "2026-01-01T00:00:00Z")

    assert ("ERRORED", "TrainingLost") == (status["state"], status["reason"])
    assert all(len(text_at(condition, "reason")) < 100 for condition in objects_at(status, "conditions"))


def ended(condition: str, phase: str, code: int, word: str) -> ObservedTraining:
    stored: dict[str, Any] = {"metadata": {"namespace": "shop", "name": "digits", "generation": 1}}
    job: dict[str, Any] = {
        "metadata": {"name": "digits-training"}, "status": {"conditions": [{"type": condition, "status": "True"}]},
    }  # fmt: skip
    container = {"name": "training", "state": {"terminated": {"exitCode": code, "message": word}}}
    pod: dict[str, Any] = {"metadata": {"name": "p"}, "status": {"phase": phase, "containerStatuses": [container]}}
    return ObservedTraining(stored, job, (pod,))


def test_a_service_of_containers_is_not_told_as_served_by_a_training() -> None:
    stored = completed("digits", "2026-01-01T00:00:00Z")
    containers = [{"name": "mine", "image": "mine:1"}]
    service: dict[str, Any] = {
        "metadata": {"namespace": "shop", "name": "digits", "generation": 1},
        "spec": {"predictor": {"containers": containers, "followTrainings": True}},
        "status": {
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True"}],
            "training": {"trainingJob": "digits"},
        },
    }
    observed = ObservedTraining(stored, None, service=service, followed="digits")

    verdict = deployed(training(deploy={"inferenceService": "digits"}), observed, has_artifact=True)

    assert ("False", "NotFollowed") == (verdict.status, verdict.reason)
    assert "serves by containers of its own, which are given no model; give it spec.predictor.model" in verdict.message


@pytest.mark.parametrize("step", ["", "1 of 2"])
def test_whoever_has_a_share_by_hand_is_told_how_to_give_it_all_and_steps_go_on_by_themselves(step: str) -> None:
    stored = completed("digits", "2026-01-01T00:00:00Z")
    service: dict[str, Any] = {
        "metadata": {"namespace": "shop", "name": "digits", "generation": 1},
        "spec": {"predictor": {"sklearn": {}, "followTrainings": True}},
        "status": {
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True"}],
            "training": {"trainingJob": "digits"},
            "canary": {"requested": 25, "actual": 20, **({"step": step} if step else {})},
        },
    }
    observed = ObservedTraining(stored, None, service=service, followed="digits")

    verdict = deployed(training(deploy={"inferenceService": "digits"}), observed, has_artifact=True)

    assert ("True", "Shared") == (verdict.status, verdict.reason)
    assert bool(step) != ("set deploy.canaryTrafficPercent to 100" in verdict.message)


@pytest.mark.parametrize("problem", [Problem("Forbidden", "the API server refused Job 'digits-training'"), None])
def test_a_lifetime_that_is_refused_after_the_end_is_said(problem: Problem | None) -> None:
    stored = completed("digits", "2026-01-01T00:00:00Z")

    status = training_status(
        training(), ObservedTraining(stored, None), () if problem is None else (problem,), "2026-01-01T00:00:00Z"
    )

    stalled = condition_of({"status": status}, "Stalled")
    expected = ("False", "Settled") if problem is None else ("True", "Forbidden")
    assert expected == (stalled["status"], stalled["reason"])


def test_a_training_takes_from_its_start_to_its_end_and_none_that_never_began() -> None:
    began, over = {"startTime": "2026-01-01T00:00:00Z"}, {"completionTime": "2026-01-01T00:01:30Z"}

    assert 90.0 == duration_of({**began, **over})
    assert duration_of({**over}) is None
    assert duration_of({**began}) is None
