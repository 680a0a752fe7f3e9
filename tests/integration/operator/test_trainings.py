"""TrainingJobs on a real API server with a real Job controller. The tests play the kubelet's part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pillion_operator.state.names import OPERATOR_POD_LABELS
from tests.integration.operator.auditing import Writes
from tests.integration.operator.harness import (
    PATHS,
    Api,
    OperatorProcess,
    condition,
    eventually,
    inference_service,
    training_job,
)
from tests.integration.operator.kubelet import now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

DIGEST = f"sha256:{'1f' * 32}"
ARTIFACT = {"uri": "s3://models/out/digits/1f1f1f1f1f1f", "digest": DIGEST, "bytes": 812, "dataDigest": "sha256:aa"}
DONE = {"reason": "Completed", "artifact": ARTIFACT, "metrics": {"accuracy": 0.97}}


def seen(api: Api, namespace: str, fits: Callable[[dict[str, Any]], bool], name: str = "digits") -> dict[str, Any]:
    """The TrainingJob, once its status fits."""

    def look() -> dict[str, Any] | None:
        found = api.get("TrainingJob", namespace, name)
        return found if found and fits(found.get("status", {})) else None

    found = eventually(look)
    assert found is not None
    return found


def state(wanted: str, reason: str = "") -> Callable[[dict[str, Any]], bool]:
    return lambda status: status.get("state") == wanted and reason in ("", status.get("reason"))


def job_of(api: Api, namespace: str, name: str = "digits") -> dict[str, Any]:
    found = eventually(lambda: api.get("Job", namespace, f"{name}-training"))
    assert found is not None
    return found


def pod_of(api: Api, namespace: str, name: str = "digits", not_in: tuple[str, ...] = ()) -> str:
    def look() -> str:
        pods = api.list("Pod", namespace, labelSelector=f"serving.pillion.dev/trainingjob={name}")
        return next((pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"] not in not_in), "")

    return eventually(look)


def kubelet_says(
    api: Api, namespace: str, pod: str, phase: str, container: dict[str, Any], name: str = "training", **status: Any
) -> None:
    entry = {"name": name, "image": "a", "imageID": "", "ready": False, "restartCount": 0, "state": container}
    body = {"phase": phase, "startTime": now(), "containerStatuses": [entry], **status}
    api.patch("Pod", namespace, pod, {"status": body}, subresource="status", manager="kubelet")


def ended(code: int, word: dict[str, Any] | str, reason: str = "Error") -> dict[str, Any]:
    message = word if isinstance(word, str) else json.dumps(word)
    moment = {"startedAt": now(), "finishedAt": now()}
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, **moment}}


RUNNING = {"running": {"startedAt": now()}}


def complete(api: Api, namespace: str, name: str = "digits", **artifact: Any) -> dict[str, Any]:
    pod = pod_of(api, namespace, name)
    word = {**DONE, "artifact": {**ARTIFACT, **artifact}}
    kubelet_says(api, namespace, pod, "Running", RUNNING)
    kubelet_says(api, namespace, pod, "Succeeded", ended(0, word, "Completed"))
    return seen(api, namespace, state("COMPLETED"), name)


def test_a_training_becomes_a_job_that_runs_to_its_end_and_says_what_it_made(api: Api, namespace: str) -> None:
    api.create(namespace, training_job(parameters={"epochs": 3}, backoffLimit=2, activeDeadlineSeconds=600))

    job = job_of(api, namespace)
    pod = pod_of(api, namespace)
    queued = seen(api, namespace, state("QUEUED", "Queued"))
    kubelet_says(api, namespace, pod, "Running", RUNNING)
    running = seen(api, namespace, state("RUNNING"))
    kubelet_says(api, namespace, pod, "Succeeded", ended(0, DONE, "Completed"))
    done = seen(api, namespace, state("COMPLETED"))

    assert (2, 600) == (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"])
    assert "digits" == job["metadata"]["ownerReferences"][0]["name"]
    assert "True" == condition(queued, "Reconciling")["status"]
    assert 1 == running["status"]["attempts"]
    status = done["status"]
    assert ARTIFACT == status["artifact"]
    assert ({"accuracy": 0.97}, 100) == (status["metrics"], status["progress"])
    assert f"kubectl logs -n {namespace} pod/{pod} -c training" == status["log"]
    assert status["startTime"] <= status["completionTime"]
    assert {"Ready": "True", "Complete": "True", "Failed": "False", "Stalled": "False", "Reconciling": "False"} == {
        kind: condition(done, kind)["status"] for kind in ("Ready", "Complete", "Failed", "Stalled", "Reconciling")
    }
    assert done["metadata"]["generation"] == status["observedGeneration"]


def test_the_pods_of_a_training_fit_the_restricted_standard(cluster: ControlPlane, api: Api, namespace: str) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, label)
    api.create(namespace, training_job())
    program = {"module": None, "image": "trainer:1", "command": ["python", "train.py"]}
    api.create(namespace, training_job("program", **program))

    pod_of(api, namespace)
    pod = api.get("Pod", namespace, pod_of(api, namespace, "program"))
    assert pod is not None
    steps = [container["name"] for container in pod["spec"]["initContainers"] + pod["spec"]["containers"]]
    assert ["storage", "training", "output"] == steps


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (
            {"waiting": {"reason": "ImagePullBackOff", "message": "back-off"}},
            "ImagePullBackOff",
            "cannot be pulled; check the image's name and tag",
        ),
        ({"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "token" not found'}},
         "CreateContainerFailed", 'secret "token" not found'),
    ],
)  # fmt: skip
def test_what_keeps_a_pod_from_training_is_said(
    api: Api, namespace: str, status: dict[str, Any], reason: str, says: str
) -> None:
    api.create(namespace, training_job())

    kubelet_says(api, namespace, pod_of(api, namespace), "Pending", status)

    waiting = seen(api, namespace, state("QUEUED", reason))
    assert says in waiting["status"]["message"]
    assert "False" == condition(waiting, "Stalled")["status"]


def test_a_pod_without_a_node_is_said(api: Api, namespace: str) -> None:
    api.create(namespace, training_job())
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no GPU"}
    body = {"status": {"phase": "Pending", "conditions": [unplaced]}}

    api.patch("Pod", namespace, pod_of(api, namespace), body, subresource="status", manager="kubelet")

    assert "0/3 nodes: no GPU" in seen(api, namespace, state("QUEUED", "Unschedulable"))["status"]["message"]


def test_a_lost_pod_is_replaced_and_counted_and_the_training_still_ends_once(api: Api, namespace: str) -> None:
    created = api.create(namespace, training_job())
    first = pod_of(api, namespace)
    kubelet_says(api, namespace, first, "Running", RUNNING)
    kubelet_says(api, namespace, first, "Failed", ended(137, "", "OOMKilled"))

    second = pod_of(api, namespace, not_in=(first,))
    kubelet_says(api, namespace, second, "Running", RUNNING)
    kubelet_says(api, namespace, second, "Succeeded", ended(0, DONE, "Completed"))
    done = seen(api, namespace, state("COMPLETED"))

    # Said until the second pod is there, which may be before anybody looks.
    states = api.history("TrainingJob", namespace, created["metadata"]["resourceVersion"])
    said = [one["status"] for one in states if one.get("status", {}).get("reason") == "OOMKilled"]
    assert {"QUEUED"} == {status["state"] for status in said}
    assert all("raise resources.limits.memory" in status["message"] for status in said)
    assert 2 == done["status"]["attempts"]


def test_what_fails_by_itself_ends_the_training_at_once_with_its_last_words(api: Api, namespace: str) -> None:
    api.create(namespace, training_job())
    word = {"reason": "TrainingFailed", "message": "/code/digits.py:7: ValueError: no rows", "remedy": ""}

    kubelet_says(api, namespace, pod_of(api, namespace), "Failed", ended(65, word))

    failed = seen(api, namespace, state("ERRORED", "TrainingFailed"))
    assert "ValueError: no rows" in failed["status"]["message"]
    assert "kubectl logs -n" in failed["status"]["message"]
    assert ("True", "True") == (condition(failed, "Failed")["status"], condition(failed, "Stalled")["status"])
    warnings = {"fieldSelector": "involvedObject.name=digits,type=Warning"}
    eventually(lambda: any("ValueError: no rows" in one["message"] for one in api.list("Event", namespace, **warnings)))


def test_a_dataset_that_is_not_there_is_the_storage_steps_reason(api: Api, namespace: str) -> None:
    api.create(namespace, training_job())
    pod = pod_of(api, namespace)
    word = {"reason": "ObjectNotFound", "message": "s3://data/digits.jsonl does not exist", "remedy": "check the key"}
    entry = {"name": "storage", "image": "a", "imageID": "", "ready": False, "restartCount": 0}
    body = {"phase": "Failed", "initContainerStatuses": [{**entry, "state": ended(20, word)}]}

    api.patch("Pod", namespace, pod, {"status": body}, subresource="status", manager="kubelet")

    message = seen(api, namespace, state("ERRORED", "ObjectNotFound"))["status"]["message"]
    assert "the dataset could not be fetched: s3://data/digits.jsonl does not exist; check the key." in message.lower()


def test_a_suspended_training_rests_and_goes_on(api: Api, namespace: str) -> None:
    api.create(namespace, training_job(suspend=True))

    rests = seen(api, namespace, state("QUEUED", "Suspended"))
    assert job_of(api, namespace)["spec"]["suspend"]
    assert "True" == condition(rests, "Suspended")["status"]
    api.patch("TrainingJob", namespace, "digits", {"spec": {"suspend": False}})
    pod_of(api, namespace)
    assert "False" == condition(seen(api, namespace, state("QUEUED", "Queued")), "Suspended")["status"]


def test_trainings_are_counted_by_state_and_their_ends_by_result(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    def ends(result: str) -> tuple[float, float]:
        names = ("pillion_operator_trainings_ended_total", "pillion_operator_training_seconds_count")
        counted, timed = (operator.metric(name, result=result) for name in names)
        return counted, timed

    def known(state: str) -> float:
        return operator.metric("pillion_operator_trainingjobs", state=state)

    def stored(state: str) -> int:
        """Of all namespaces: those of other tests go while this one runs."""
        everywhere = api.send("GET", PATHS["TrainingJob"].replace("/namespaces/{}", "")).json()["items"]
        return sum(job.get("status", {}).get("state") == state for job in everywhere)

    operator.at_rest()  # Those of other tests have ended.
    before = ends("COMPLETED")
    api.create(namespace, training_job("waiting", suspend=True))
    api.create(namespace, training_job())

    complete(api, namespace)
    api.patch("TrainingJob", namespace, "digits", {"spec": {"ttlSecondsAfterFinished": 60}})
    eventually(lambda: lifetime(api, namespace) == 60)

    eventually(lambda: (before[0] + 1, before[1] + 1) == ends("COMPLETED"))
    eventually(lambda: stored("COMPLETED") == known("COMPLETED") >= 1)
    eventually(lambda: stored("QUEUED") == known("QUEUED") >= 1)


def lifetime(api: Api, namespace: str) -> int | None:
    found: int | None = job_of(api, namespace)["spec"].get("ttlSecondsAfterFinished")
    return found


def test_a_job_may_be_cleaned_up_only_after_its_end_was_written_down(api: Api, namespace: str) -> None:
    api.create(namespace, training_job(ttlSecondsAfterFinished=600))
    seen(api, namespace, state("QUEUED", "Queued"))
    assert lifetime(api, namespace) is None

    complete(api, namespace)

    eventually(lambda: lifetime(api, namespace) == 600)
    api.patch("TrainingJob", namespace, "digits", {"spec": {"ttlSecondsAfterFinished": 900}})
    eventually(lambda: lifetime(api, namespace) == 900)
    api.patch("TrainingJob", namespace, "digits", {"spec": {"ttlSecondsAfterFinished": None}})
    eventually(lambda: lifetime(api, namespace) is None)
    api.delete("Job", namespace, "digits-training")
    # The garbage collector leaves its pods behind first.
    eventually(lambda: api.get("Job", namespace, "digits-training") is None)
    api.patch("TrainingJob", namespace, "digits", {"spec": {"ttlSecondsAfterFinished": 60}})
    seen(api, namespace, lambda status: status["state"] == "COMPLETED" and status["observedGeneration"] == 4)
    assert api.get("Job", namespace, "digits-training") is None


def test_a_queue_decides_when_a_training_begins(api: Api, namespace: str) -> None:
    api.create(namespace, training_job(queueName="batch"))

    job = job_of(api, namespace)
    assert "batch" == job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    assert "Kueue" in seen(api, namespace, state("QUEUED", "Suspended"))["status"]["message"]
    api.patch("Job", namespace, "digits-training", {"spec": {"suspend": False}}, manager="kueue")
    pod_of(api, namespace)
    api.patch("TrainingJob", namespace, "digits", {"spec": {"backoffLimit": 1}})
    eventually(lambda: job_of(api, namespace)["spec"]["backoffLimit"] == 1)
    assert not job_of(api, namespace)["spec"]["suspend"]


def test_a_cancelled_training_ends_for_good(api: Api, namespace: str) -> None:
    api.create(namespace, training_job())
    kubelet_says(api, namespace, pod_of(api, namespace), "Running", RUNNING)

    api.patch("TrainingJob", namespace, "digits", {"spec": {"cancel": True}})

    seen(api, namespace, state("CANCELED"))
    eventually(lambda: api.get("Job", namespace, "digits-training") is None)
    api.patch("TrainingJob", namespace, "digits", {"spec": {"cancel": False}})
    seen(api, namespace, lambda status: status["state"] == "CANCELED" and status["observedGeneration"] == 3)
    assert api.get("Job", namespace, "digits-training") is None


def test_a_change_that_a_job_cannot_take_is_a_condition_and_no_loop(api: Api, namespace: str, audit_log: Path) -> None:
    api.create(namespace, training_job())
    before = job_of(api, namespace)
    pod_of(api, namespace)
    writes = Writes(audit_log, namespace)

    api.patch("TrainingJob", namespace, "digits", {"spec": {"parameters": {"epochs": 9}}})

    changed = seen(api, namespace, state("QUEUED", "Immutable"))
    assert "undo the change, or create a TrainingJob of another name" in condition(changed, "Stalled")["message"]
    # It is written down and told, and not tried over and over.
    assert [] == [one for one in writes.at_rest() if one.split()[1] not in {"trainingjobs", "events"}]
    assert len(writes.all()) <= 6
    assert before["spec"]["template"] == job_of(api, namespace)["spec"]["template"]


def test_somebody_elses_job_of_that_name_is_left_alone(api: Api, namespace: str) -> None:
    container = {"name": "other", "image": "other:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    other = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "digits-training"},
        "spec": {"suspend": True, "template": template},
    }
    api.create(namespace, other)

    api.create(namespace, training_job())

    conflict = seen(api, namespace, state("QUEUED", "NameConflict"))
    assert "rename or delete that Job" in conflict["status"]["message"]
    api.delete("Job", namespace, "digits-training")
    eventually(
        lambda: "ownerReferences" in (api.get("Job", namespace, "digits-training") or {"metadata": {}})["metadata"]
    )


def test_a_missing_service_account_or_claim_is_waited_for(api: Api, namespace: str) -> None:
    api.create(namespace, training_job(serviceAccountName="trainer", output={"uri": "pvc://models/out"}))

    missing = seen(api, namespace, state("QUEUED", "ServiceAccountNotFound"))
    assert api.get("Job", namespace, "digits-training") is None
    assert "trainer" in missing["status"]["message"]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trainer"}}
    api.create(namespace, account)
    assert "spec.output.uri" in seen(api, namespace, state("QUEUED", "ClaimNotFound"))["status"]["message"]


def test_a_result_outside_of_its_output_is_not_believed(api: Api, namespace: str) -> None:
    api.create(namespace, training_job())

    done = complete(api, namespace, uri="s3://somebody-elses/model")

    assert "artifact" not in done["status"]
    assert "ResultLost" == done["status"]["reason"]


def test_the_deletion_of_a_training_takes_its_job_along(api: Api, namespace: str) -> None:
    api.create(namespace, training_job())
    job_of(api, namespace)

    api.delete("TrainingJob", namespace, "digits")

    eventually(lambda: api.get("Job", namespace, "digits-training") is None)


def followed_uri(api: Api, namespace: str) -> str:
    deployment = api.get("Deployment", namespace, "digits-predictor")
    if deployment is None:
        return ""
    arguments: list[str] = deployment["spec"]["template"]["spec"]["initContainers"][0]["args"]
    return arguments[arguments.index("--uri") + 1]


def test_a_service_that_follows_trainings_serves_the_newest_and_its_spec_is_never_written(
    api: Api, namespace: str
) -> None:
    service = inference_service("digits", sklearn={"storageUri": "s3://models/first"}, followTrainings=True)
    api.create(namespace, service)
    eventually(lambda: followed_uri(api, namespace) == "s3://models/first")
    api.create(namespace, training_job(deploy={"inferenceService": "digits"}))

    done = complete(api, namespace)

    assert "RollingOut" == condition(done, "Deployed")["reason"]
    assert "False" == condition(done, "Ready")["status"]
    eventually(lambda: followed_uri(api, namespace) == ARTIFACT["uri"])
    stored = api.get("InferenceService", namespace, "digits")
    assert stored is not None
    assert {"followTrainings": True, "sklearn": {"storageUri": "s3://models/first"}} == stored["spec"]["predictor"]
    assert 1 == stored["metadata"]["generation"]
    eventually(
        lambda: (
            (api.get("InferenceService", namespace, "digits") or {})["status"].get("training")
            == {"trainingJob": "digits", "uri": ARTIFACT["uri"], "digest": DIGEST}
        )
    )
    api.patch("TrainingJob", namespace, "digits", {"spec": {"deploy": None}})
    eventually(lambda: followed_uri(api, namespace) == "s3://models/first")
    api.patch("TrainingJob", namespace, "digits", {"spec": {"deploy": {"inferenceService": "digits"}}})
    eventually(lambda: followed_uri(api, namespace) == ARTIFACT["uri"])
    api.delete("TrainingJob", namespace, "digits")
    eventually(lambda: followed_uri(api, namespace) == "s3://models/first")


def test_a_service_without_a_model_of_its_own_waits_for_its_first_training(api: Api, namespace: str) -> None:
    model = {"modelFormat": {"name": "sklearn"}}
    api.create(namespace, inference_service("digits", model=model, followTrainings=True))

    waits = eventually(lambda: api.get("InferenceService", namespace, "digits"))
    eventually(
        lambda: (
            condition(api.get("InferenceService", namespace, "digits"), "Ready").get("reason") == "WaitingForTraining"
        )
    )
    assert waits is not None
    assert api.get("Deployment", namespace, "digits-predictor") is None
    api.create(namespace, training_job(deploy={"inferenceService": "digits"}))
    complete(api, namespace)
    eventually(lambda: followed_uri(api, namespace) == ARTIFACT["uri"])


@pytest.mark.parametrize(
    ("service", "reason", "says"),
    [
        (None, "InferenceServiceNotFound", "create it, or correct the reference"),
        ({"followTrainings": False}, "NotFollowed", "set spec.predictor.followTrainings: true"),
    ],
)
def test_what_keeps_a_model_from_being_deployed_is_said_and_the_service_left_alone(
    api: Api, namespace: str, service: dict[str, Any] | None, reason: str, says: str
) -> None:
    if service is not None:
        api.create(namespace, inference_service("digits", sklearn={"storageUri": "s3://models/first"}, **service))
    api.create(namespace, training_job(deploy={"inferenceService": "digits"}))

    complete(api, namespace)

    found = seen(api, namespace, lambda status: condition({"status": status}, "Deployed").get("reason") == reason)
    assert says in condition(found, "Deployed")["message"]
    assert (reason, "True") == (condition(found, "Stalled")["reason"], condition(found, "Stalled")["status"])
    assert "True" == condition(found, "Complete")["status"]
    assert followed_uri(api, namespace) in ("", "s3://models/first")


def test_pods_that_only_carry_the_label_are_not_believed(api: Api, namespace: str) -> None:
    api.create(namespace, training_job(suspend=True))
    seen(api, namespace, state("QUEUED", "Suspended"))
    labels = {"serving.pillion.dev/trainingjob": "digits", "app.kubernetes.io/managed-by": "pillion-operator"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "spy", "labels": {**OPERATOR_POD_LABELS, **labels}},
        "spec": {"containers": [{"name": "training", "image": "spy"}]},
    }
    api.create(namespace, pod)
    kubelet_says(api, namespace, "spy", "Running", RUNNING)
    api.patch("TrainingJob", namespace, "digits", {"spec": {"backoffLimit": 4}})

    found = seen(api, namespace, lambda status: status.get("observedGeneration") == 2)
    assert ("QUEUED", 0) == (found["status"]["state"], found["status"]["attempts"])
