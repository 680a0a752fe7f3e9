"""BatchPredictions on a real API server with a real Job controller. The tests play the kubelet's part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.auditing import Writes
from tests.integration.operator.harness import (
    Api,
    OperatorProcess,
    batch_prediction,
    condition,
    eventually,
    inference_service,
)
from tests.integration.operator.kubelet import now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

RUNNING = {"running": {"startedAt": now()}}


def seen(api: Api, namespace: str, fits: Callable[[dict[str, Any]], bool], name: str = "iris") -> dict[str, Any]:
    """The BatchPrediction, once its status fits."""

    def look() -> dict[str, Any] | None:
        found = api.get("BatchPrediction", namespace, name)
        return found if found and fits(found.get("status", {})) else None

    found = eventually(look)
    assert found is not None
    return found


def state(wanted: str, reason: str = "") -> Callable[[dict[str, Any]], bool]:
    return lambda status: status.get("state") == wanted and reason in ("", status.get("reason"))


def job_of(api: Api, namespace: str, name: str = "iris") -> dict[str, Any]:
    found = eventually(lambda: api.get("Job", namespace, f"{name}-batch"))
    assert found is not None
    return found


def pods_of(api: Api, namespace: str, number: int = 1, not_in: tuple[str, ...] = ()) -> dict[str, str]:
    """The names of so many pods by their index."""

    def look() -> dict[str, str] | None:
        pods = api.list("Pod", namespace, labelSelector="serving.pillion.dev/batchprediction=iris")
        found = {
            pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]: pod["metadata"]["name"]
            for pod in pods
            if pod["metadata"]["name"] not in not_in
        }
        return found if len(found) == number else None

    found = eventually(look)
    assert found is not None
    return found


def kubelet_says(
    api: Api, namespace: str, pod: str, phase: str, container: dict[str, Any], *, step: str = "batch"
) -> None:
    entry = {"name": step, "image": "a", "imageID": "", "ready": False, "restartCount": 0, "state": container}
    statuses = "initContainerStatuses" if step == "storage" else "containerStatuses"
    others = [{**entry, "name": "batch", "state": {"waiting": {"reason": "PodInitializing"}}}]
    body = {"phase": phase, "startTime": now(), statuses: [entry]}
    if step == "storage":
        body["containerStatuses"] = others
    api.patch("Pod", namespace, pod, {"status": body}, subresource="status", manager="kubelet")


def word(total: int, done: int, read: int, failed: int = 0, **fields: Any) -> dict[str, Any]:
    rows = {"read": read, "written": read - failed, "failed": failed}
    return {**fields, "batch": {"shards": {"total": total, "own": done, "done": done}, "rows": rows}}


def ended(code: int, told: dict[str, Any]) -> dict[str, Any]:
    moment = {"startedAt": now(), "finishedAt": now()}
    return {"terminated": {"exitCode": code, "reason": "Error", "message": json.dumps(told), **moment}}


def test_a_batch_prediction_becomes_an_indexed_job_whose_pods_add_up(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction(parallelism=2, activeDeadlineSeconds=600))

    job = job_of(api, namespace)["spec"]
    pods = pods_of(api, namespace, 2)
    kubelet_says(api, namespace, pods["0"], "Running", RUNNING)
    running = seen(api, namespace, state("RUNNING"))
    kubelet_says(api, namespace, pods["0"], "Succeeded", ended(0, word(3, 2, 200, 1)))
    kubelet_says(api, namespace, pods["1"], "Succeeded", ended(0, word(3, 1, 50)))
    done = seen(api, namespace, state("COMPLETED"))

    assert ("Indexed", 2, 2, 600) == (
        job["completionMode"], job["completions"], job["parallelism"], job["activeDeadlineSeconds"],
    )  # fmt: skip
    assert "True" == condition(running, "Reconciling")["status"]
    status = done["status"]
    assert {"total": 3, "done": 3, "summary": "3/3"} == status["shards"]
    assert {"read": 250, "written": 249, "failed": 1} == status["rows"]
    assert "249 rows have a prediction, and 1 failed: s3://data/predicted/iris/_errors says why." == status["message"]
    assert ("s3://data/predicted/iris", 100) == (status["output"], status["progress"])
    assert status["startTime"] <= status["completionTime"]
    assert {"Ready": "True", "Complete": "True", "Failed": "False", "Stalled": "False", "Reconciling": "False"} == {
        kind: condition(done, kind)["status"] for kind in ("Ready", "Complete", "Failed", "Stalled", "Reconciling")
    }


@pytest.mark.parametrize("says_all", [True, False])
def test_pods_whose_words_are_lost_leave_no_wrong_counts(api: Api, namespace: str, *, says_all: bool) -> None:
    api.create(namespace, batch_prediction(parallelism=2))
    pods = pods_of(api, namespace, 2)
    told = word(3, 1, 50)
    if says_all:
        told["batch"]["all"] = {"shards": 3, "rows": {"read": 250, "written": 249, "failed": 1}}

    kubelet_says(api, namespace, pods["0"], "Succeeded", ended(0, {}))
    kubelet_says(api, namespace, pods["1"], "Succeeded", ended(0, told))

    status = seen(api, namespace, state("COMPLETED"))["status"]
    if says_all:
        assert {"read": 250, "written": 249, "failed": 1} == status["rows"]
        assert "3/3" == status["shards"]["summary"]
    else:
        assert "rows" not in status
        assert (
            "The rows are predicted; how many there were, s3://data/predicted/iris/_SUCCESS says." == status["message"]
        )


def test_no_rows_are_complete_and_counted(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(namespace, batch_prediction())

    kubelet_says(api, namespace, pods_of(api, namespace)["0"], "Succeeded", ended(0, word(0, 0, 0, reason="Completed")))

    status = seen(api, namespace, state("COMPLETED"))["status"]
    eventually(lambda: operator.metric("pillion_operator_batchpredictions", state="COMPLETED") >= 1)
    assert ("0 rows have a prediction, and none failed.", "0/0") == (status["message"], status["shards"]["summary"])


def test_too_many_failures_end_it_at_once_with_what_was_done(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction(maxFailures=10))
    told = word(9, 2, 300, 11, reason="TooManyFailures", message="11 rows failed, and maxFailures is 10", remedy="see")

    kubelet_says(api, namespace, pods_of(api, namespace)["0"], "Failed", ended(65, told))

    failed = seen(api, namespace, state("ERRORED", "TooManyFailures"))
    assert "11 rows failed, and maxFailures is 10" in failed["status"]["message"]
    assert "kubectl logs -n" in failed["status"]["message"]
    assert ({"total": 9, "done": 2, "summary": "2/9"}, 11) == (
        failed["status"]["shards"],
        failed["status"]["rows"]["failed"],
    )
    assert ("True", "True") == (condition(failed, "Failed")["status"], condition(failed, "Stalled")["status"])
    warnings = {"fieldSelector": "involvedObject.name=iris,type=Warning"}
    eventually(lambda: any("maxFailures is 10" in one["message"] for one in api.list("Event", namespace, **warnings)))


def test_a_lost_pod_is_replaced_and_its_rows_count_once(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction())
    first = pods_of(api, namespace)["0"]
    kubelet_says(api, namespace, first, "Failed", ended(75, word(2, 1, 180, reason="ServiceUnavailable", message="x")))

    second = pods_of(api, namespace, not_in=(first,))["0"]
    kubelet_says(api, namespace, second, "Succeeded", ended(0, word(2, 2, 200)))

    assert 200 == seen(api, namespace, state("COMPLETED"))["status"]["rows"]["read"]


def test_a_model_that_is_not_there_is_the_storage_steps_reason(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction())
    told = {"reason": "ObjectNotFound", "message": "s3://models/iris does not exist", "remedy": "check the key"}

    kubelet_says(api, namespace, pods_of(api, namespace)["0"], "Failed", ended(20, told), step="storage")

    message = seen(api, namespace, state("ERRORED", "ObjectNotFound"))["status"]["message"]
    assert "the model could not be fetched: s3://models/iris does not exist; check the key." in message.lower()


def test_its_pods_fit_the_restricted_standard(cluster: ControlPlane, api: Api, namespace: str) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")

    api.create(namespace, batch_prediction())

    pod = api.get("Pod", namespace, pods_of(api, namespace)["0"])
    assert pod is not None
    containers = pod["spec"]["initContainers"] + pod["spec"]["containers"]
    assert ["storage", "batch"] == [container["name"] for container in containers]


def test_a_service_is_waited_for_and_asked_by_its_name_and_with_its_certificate(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction(model=None, inferenceService="flowers"))
    missing = seen(api, namespace, state("QUEUED", "InferenceServiceNotFound"))
    assert api.get("Job", namespace, "iris-batch") is None

    predictor: dict[str, Any] = {
        "sklearn": {"storageUri": "s3://models/iris"},
        "tls": {"secretName": "cert"},
        "timeout": 90,
    }
    api.create(namespace, inference_service("flowers", **predictor))

    pod = job_of(api, namespace)["spec"]["template"]["spec"]
    order = json.loads(next(v["value"] for v in pod["containers"][0]["env"] if v["name"] == "PILLION_BATCH"))
    assert "flowers" in missing["status"]["message"]
    assert "initContainers" not in pod
    assert f"https://flowers-predictor.{namespace}.svc.cluster.local" == order["service"]["url"]
    assert 105 == order["service"]["timeout_seconds"]
    certificate = next(v["secret"] for v in pod["volumes"] if v["name"] == "pillion-service-ca")
    assert ("cert", [{"key": "ca.crt", "path": "ca.crt"}]) == (certificate["secretName"], certificate["items"])


def test_a_service_that_wants_to_know_its_clients_needs_a_certificate_of_ours(api: Api, namespace: str) -> None:
    tls = {"secretName": "cert", "clientCASecretName": "clients"}
    api.create(namespace, inference_service("flowers", sklearn={"storageUri": "s3://models/iris"}, tls=tls))

    api.create(namespace, batch_prediction(model=None, inferenceService="flowers"))

    found = seen(api, namespace, state("QUEUED", "CertificateInvalid"))
    assert "spec.tls.secretName" in found["status"]["message"]
    assert "True" == condition(found, "Stalled")["status"]


def test_a_policy_of_the_namespace_reaches_the_pods(cluster: ControlPlane, api: Api, namespace: str) -> None:
    cluster.kubectl("label", "namespace", namespace, "serving.pillion.dev/pickle-policy=deny")
    model = {"storageUri": "s3://models/iris", "allowPickle": True}

    api.create(namespace, batch_prediction(model=model))

    pod = job_of(api, namespace)["spec"]["template"]["spec"]
    order = json.loads(next(v["value"] for v in pod["containers"][0]["env"] if v["name"] == "PILLION_BATCH"))
    assert (False, "deny") == (order["model"]["allow_pickle"], order["model"]["pickle_policy"])


def test_a_suspended_one_rests_and_goes_on(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction(suspend=True))

    rests = seen(api, namespace, state("QUEUED", "Suspended"))
    assert "True" == condition(rests, "Suspended")["status"]
    api.patch("BatchPrediction", namespace, "iris", {"spec": {"suspend": False}})
    pods_of(api, namespace)
    assert "False" == condition(seen(api, namespace, state("QUEUED", "Queued")), "Suspended")["status"]


def test_a_queue_decides_when_it_begins(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction(queueName="batch"))

    job = job_of(api, namespace)
    assert ("batch", True) == (job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], job["spec"]["suspend"])
    assert "Kueue" in seen(api, namespace, state("QUEUED", "Suspended"))["status"]["message"]
    api.patch("Job", namespace, "iris-batch", {"spec": {"suspend": False}}, manager="kueue")
    pods_of(api, namespace)
    api.patch("BatchPrediction", namespace, "iris", {"spec": {"backoffLimit": 1}})
    eventually(lambda: job_of(api, namespace)["spec"]["backoffLimit"] == 1)
    assert not job_of(api, namespace)["spec"]["suspend"]


def test_its_job_gets_its_time_to_live_only_after_the_end_was_recorded(
    api: Api, namespace: str, audit_log: Path
) -> None:
    api.create(namespace, batch_prediction(ttlSecondsAfterFinished=3600))
    assert "ttlSecondsAfterFinished" not in job_of(api, namespace)["spec"]

    kubelet_says(api, namespace, pods_of(api, namespace)["0"], "Succeeded", ended(0, word(1, 1, 10)))

    seen(api, namespace, state("COMPLETED"))
    eventually(lambda: job_of(api, namespace)["spec"].get("ttlSecondsAfterFinished") == 3600)
    api.delete("Job", namespace, "iris-batch")
    eventually(lambda: api.get("Job", namespace, "iris-batch") is None)
    Writes(audit_log, namespace).at_rest()
    assert "COMPLETED" == seen(api, namespace, bool)["status"]["state"]
    assert api.get("Job", namespace, "iris-batch") is None


def test_a_change_that_a_job_cannot_take_is_a_condition_and_no_loop(api: Api, namespace: str, audit_log: Path) -> None:
    api.create(namespace, batch_prediction())
    before = job_of(api, namespace)
    pods_of(api, namespace)
    writes = Writes(audit_log, namespace)

    api.patch("BatchPrediction", namespace, "iris", {"spec": {"batchSize": 9}})

    changed = seen(api, namespace, state("QUEUED", "Immutable"))
    assert "undo the change, or create a BatchPrediction of another name" in condition(changed, "Stalled")["message"]
    # It is written down and told, and not tried over and over.
    assert [] == [one for one in writes.at_rest() if one.split()[1] not in {"batchpredictions", "events"}]
    assert len(writes.all()) <= 6
    assert before["spec"]["template"] == job_of(api, namespace)["spec"]["template"]


def test_a_file_of_one_machine_and_a_missing_account_are_said(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction(input={"uri": "file:///data/rows.csv"}))
    local = seen(api, namespace, state("QUEUED", "LocalFile"))

    api.create(namespace, batch_prediction("other", serviceAccountName="reader"))
    account = seen(api, namespace, state("QUEUED", "ServiceAccountNotFound"), "other")

    assert "pillion push" in local["status"]["message"]
    assert "reader" in account["status"]["message"]
    assert api.get("Job", namespace, "iris-batch") is None


def test_its_deletion_takes_its_job_and_pods_along(api: Api, namespace: str) -> None:
    api.create(namespace, batch_prediction())
    pods_of(api, namespace)

    api.delete("BatchPrediction", namespace, "iris")

    eventually(lambda: api.get("Job", namespace, "iris-batch") is None)
    eventually(lambda: not api.list("Pod", namespace, labelSelector="serving.pillion.dev/batchprediction=iris"))
