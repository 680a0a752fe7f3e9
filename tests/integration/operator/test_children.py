"""From an applied manifest to every child, and back when somebody interferes."""

from __future__ import annotations

import functools
import statistics
import time
from typing import TYPE_CHECKING, Any

import yaml

from tests.integration.operator.auditing import Writes
from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

CHILDREN = {
    "Deployment": "iris-predictor",
    "Service": "iris-predictor",
    "ConfigMap": "iris-predictor-runtime",
    "PodDisruptionBudget": "iris-predictor",
}


def created(api: Api, namespace: str, **predictor: Any) -> dict[str, Any]:
    """An InferenceService with two replicas and all its children, settled."""
    predictor = predictor or {"minReplicas": 2, "sklearn": {"storageUri": "s3://models/iris"}}
    service = api.create(namespace, inference_service(**predictor))
    eventually(lambda: all(api.get(kind, namespace, name) for kind, name in CHILDREN.items()))
    eventually(lambda: replicas(api, namespace) == predictor.get("minReplicas", 1))
    eventually(lambda: len(pods(api, namespace)) == predictor.get("minReplicas", 1))
    return service


def replicas(api: Api, namespace: str) -> int:
    deployment = api.get("Deployment", namespace, "iris-predictor")
    return deployment["spec"]["replicas"] if deployment else -1


def pods(api: Api, namespace: str) -> list[dict[str, Any]]:
    found = api.list("Pod", namespace, labelSelector="serving.pillion.dev/inferenceservice=iris")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def runtime_container(api: Api, namespace: str) -> dict[str, Any]:
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def test_an_applied_service_gets_every_child_and_a_status(operator: OperatorProcess, api: Api, namespace: str) -> None:
    service = created(api, namespace)

    for kind, name in CHILDREN.items():
        child = api.get(kind, namespace, name)
        assert child is not None
        owner = child["metadata"]["ownerReferences"][0]
        assert (service["metadata"]["uid"], True) == (owner["uid"], owner["controller"])
    settled = eventually(lambda: _settled(api, namespace))
    assert settled is not None
    assert f"http://iris-predictor.{namespace}.svc.cluster.local" == settled["status"]["url"]
    assert "pillion-sklearn" == settled["status"]["runtime"]["name"]
    assert ("False", "Starting") == (condition(settled, "Ready")["status"], condition(settled, "Ready")["reason"])
    assert {1} == {c["observedGeneration"] for c in settled["status"]["conditions"]}
    assert "0/2" == settled["status"]["replicas"]["summary"]


def _settled(api: Api, namespace: str) -> dict[str, Any] | None:
    found = api.get("InferenceService", namespace, "iris")
    replicas_ = (found or {}).get("status", {}).get("replicas", {})
    return found if (replicas_.get("desired"), replicas_.get("updated")) == (2, 2) else None


def test_the_pods_are_restricted_and_bounded_in_time(operator: OperatorProcess, api: Api, namespace: str) -> None:
    created(api, namespace)

    pod = pods(api, namespace)[0]["spec"]
    assert 90 == pod["terminationGracePeriodSeconds"]
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod["containers"], *pod["initContainers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]
        assert "cpu" not in container["resources"].get("limits", {})
    assert ["python", "-m", "pillion.server.prestop"] == pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]


def test_the_runtime_file_names_the_model(operator: OperatorProcess, api: Api, namespace: str) -> None:
    created(api, namespace)

    config = api.get("ConfigMap", namespace, "iris-predictor-runtime")
    assert config is not None
    model = yaml.safe_load(config["data"]["runtime.yaml"])["models"][0]
    assert ("iris", "/mnt/models", "sklearn") == (model["name"], model["path"], model["format"])


def test_a_namespace_with_the_restricted_standard_takes_the_pods(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    created(api, namespace)

    assert len(pods(api, namespace)) == 2


def test_a_changed_manifest_changes_the_children(operator: OperatorProcess, api: Api, namespace: str) -> None:
    created(api, namespace)
    before = {pod["metadata"]["name"] for pod in pods(api, namespace)}

    patch = {"spec": {"predictor": {"sklearn": {"storageUri": "s3://models/iris-2"}}}}
    api.patch("InferenceService", namespace, "iris", patch)

    eventually(lambda: {pod["metadata"]["name"] for pod in pods(api, namespace)} - before)
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    assert "s3://models/iris-2" in deployment["spec"]["template"]["spec"]["initContainers"][0]["args"]
    eventually(
        lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready").get("observedGeneration") == 2
    )


def test_a_removed_field_is_removed_from_the_children(operator: OperatorProcess, api: Api, namespace: str) -> None:
    env = [{"name": "KEPT", "value": "1"}, {"name": "REMOVED", "value": "2"}]
    created(api, namespace, minReplicas=2, sklearn={"storageUri": "s3://models/iris", "env": env})
    assert len(runtime_container(api, namespace)["env"]) == 2

    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"sklearn": {"env": env[:1]}}}})

    eventually(lambda: runtime_container(api, namespace)["env"] == env[:1])


def test_a_budget_is_there_for_two_replicas_and_not_for_one(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)

    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"minReplicas": 1}}})

    eventually(lambda: api.get("PodDisruptionBudget", namespace, "iris-predictor") is None)
    eventually(lambda: replicas(api, namespace) == 1)


def test_deleting_the_service_leaves_nothing(operator: OperatorProcess, api: Api, namespace: str) -> None:
    created(api, namespace)

    api.delete("InferenceService", namespace, "iris")

    eventually(lambda: not any(api.get(kind, namespace, name) for kind, name in CHILDREN.items()))


def test_a_service_recreated_under_its_name_gets_its_own_children(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)
    api.delete("InferenceService", namespace, "iris")

    service = api.create(namespace, inference_service(minReplicas=2, sklearn={"storageUri": "s3://models/other"}))

    def owned() -> bool:
        found = [api.get(kind, namespace, name) for kind, name in CHILDREN.items()]
        return all(c and c["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"] for c in found)

    eventually(owned)


def test_deleted_children_come_back_at_once(
    operator: OperatorProcess, api: Api, namespace: str, record_property: Callable[[str, object], None]
) -> None:
    created(api, namespace)
    seconds = []
    for kind, name in list(CHILDREN.items()) * 4:
        known = api.get(kind, namespace, name)
        assert known is not None
        started = time.monotonic()
        api.delete(kind, namespace, name)
        uid = known["metadata"]["uid"]
        eventually(functools.partial(_is_new, api, kind, namespace, name, uid), pause=0.005)
        seconds.append(time.monotonic() - started)
        eventually(lambda: replicas(api, namespace) == 2)

    record_property("restored_after_deletion_seconds", statistics.median(seconds))
    # The goal is 0.15 s on a quiet machine, which bench/operator_scale.py measures; a busy one must keep this.
    assert statistics.median(seconds) <= 10.0


def _is_new(api: Api, kind: str, namespace: str, name: str, uid: str) -> bool:
    found = api.get(kind, namespace, name)
    return found is not None and found["metadata"]["uid"] != uid


def test_an_edited_child_is_set_right_at_once(
    operator: OperatorProcess, api: Api, namespace: str, record_property: Callable[[str, object], None]
) -> None:
    created(api, namespace)
    seconds = []
    for number in range(10):
        image = {"containers": [{"name": "runtime", "image": f"example.com/other:{number}"}]}
        started = time.monotonic()
        api.patch("Deployment", namespace, "iris-predictor", {"spec": {"template": {"spec": image}}}, manager="editor")
        eventually(lambda: "other" not in runtime_container(api, namespace)["image"], pause=0.005)
        seconds.append(time.monotonic() - started)

    record_property("restored_after_edit_seconds", statistics.median(seconds))
    assert statistics.median(seconds) <= 10.0


def test_an_entry_that_another_manager_added_is_taken_out(operator: OperatorProcess, api: Api, namespace: str) -> None:
    created(api, namespace)
    added = {
        "containers": [{"name": "runtime", "env": [{"name": "DEBUG", "value": "1"}]}, {"name": "spy", "image": "spy"}]
    }

    api.patch("Deployment", namespace, "iris-predictor", {"spec": {"template": {"spec": added}}}, manager="editor")

    def clean() -> bool:
        deployment = api.get("Deployment", namespace, "iris-predictor")
        assert deployment is not None
        containers = deployment["spec"]["template"]["spec"]["containers"]
        return len(containers) == 1 and not containers[0].get("env")

    eventually(clean)
    eventually(lambda: [e for e in api.list("Event", namespace) if e["reason"] == "Repaired"])


def test_an_entry_that_another_manager_applied_is_taken_out(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    created(api, namespace)
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "iris-predictor", "namespace": namespace},
        "spec": {"ports": [{"name": "extra", "port": 9999, "protocol": "TCP"}]},
    }
    cluster.kubectl("apply", "--server-side", "--field-manager=tool", "-f", "-", stdin=yaml.safe_dump(manifest))

    def ports() -> list[int]:
        service = api.get("Service", namespace, "iris-predictor")
        assert service is not None
        return [port["port"] for port in service["spec"]["ports"]]

    eventually(lambda: ports() == [80, 8081])


def test_the_trace_of_a_rollout_restart_stays(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, audit_log: Path
) -> None:
    created(api, namespace)
    eventually(lambda: _settled(api, namespace))
    writes = Writes(audit_log, namespace)

    cluster.kubectl("rollout", "restart", "deployment/iris-predictor", "--namespace", namespace)
    eventually(lambda: _observed(api, namespace))

    assert [] == [one for one in writes.at_rest() if "deployments" in one]
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    assert "kubectl.kubernetes.io/restartedAt" in deployment["spec"]["template"]["metadata"]["annotations"]


def _observed(api: Api, namespace: str) -> bool:
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    return bool(deployment["status"].get("observedGeneration") == deployment["metadata"]["generation"])


def test_an_autoscaler_keeps_the_count_it_set(operator: OperatorProcess, api: Api, namespace: str) -> None:
    created(api, namespace)

    api.patch("Deployment", namespace, "iris-predictor", {"spec": {"replicas": 5}}, subresource="scale", manager="hpa")
    eventually(lambda: len(pods(api, namespace)) == 5)
    # A change of the template is the moment at which a lost owner would cut the count.
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"labels": {"team": "a"}}}})
    eventually(lambda: any(pod["metadata"]["labels"].get("team") == "a" for pod in pods(api, namespace)))

    assert 5 == replicas(api, namespace)


def test_an_autoscaler_that_goes_below_the_least_is_corrected(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)

    api.patch("Deployment", namespace, "iris-predictor", {"spec": {"replicas": 1}}, subresource="scale", manager="hpa")

    eventually(lambda: replicas(api, namespace) == 2)


def test_a_count_edited_into_the_deployment_follows_the_manifest(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)

    api.patch("Deployment", namespace, "iris-predictor", {"spec": {"replicas": 6}}, manager="editor")

    eventually(lambda: replicas(api, namespace) == 2)


def test_the_deployment_is_never_applied_with_a_count(operator: OperatorProcess, api: Api, namespace: str) -> None:
    created(api, namespace)

    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    owners = {
        (entry["manager"], entry["operation"], entry.get("subresource"))
        for entry in deployment["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }
    assert {("pillion-operator-scale", "Apply", "scale")} == owners


def test_a_stopped_service_has_no_pods_and_says_so(operator: OperatorProcess, api: Api, namespace: str) -> None:
    created(api, namespace)

    stop = {"metadata": {"annotations": {"serving.pillion.dev/stop": "true"}}}
    api.patch("InferenceService", namespace, "iris", stop)

    eventually(lambda: not pods(api, namespace))
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Stopped").get("status") == "True")
    api.patch("InferenceService", namespace, "iris", {"metadata": {"annotations": {"serving.pillion.dev/stop": None}}})
    eventually(lambda: len(pods(api, namespace)) == 2)


def test_a_settled_service_costs_no_writes(
    operator: OperatorProcess, api: Api, namespace: str, audit_log: Path
) -> None:
    service = created(api, namespace)
    # The status that tells of both pods is the last write but for the event that follows it.
    eventually(lambda: _settled(api, namespace))
    eventually(lambda: [e for e in api.list("Event", namespace) if e["reason"] == "Created"])
    Writes(audit_log, namespace).at_rest()
    writes = Writes(audit_log, namespace)

    done = operator.metric("pillion_operator_reconciles_total", result="ok")
    # A change that means nothing makes the operator look again.
    api.patch("InferenceService", namespace, "iris", {"metadata": {"labels": {"looked": "again"}}})
    eventually(lambda: operator.metric("pillion_operator_reconciles_total", result="ok") > done)

    assert [] == writes.at_rest()
    assert api.get("InferenceService", namespace, "iris")["spec"] == service["spec"]  # type: ignore[index]  # it was just created, so it is there
