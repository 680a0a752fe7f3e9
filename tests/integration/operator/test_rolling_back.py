"""Revisions that never become ready are given up, and the last good one serves on. The tests play the kubelet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.integration.operator.auditing import Writes
from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import make_ready, pods, report

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

STATE = "serving.pillion.dev/revision-state"
MESSAGE = "serving.pillion.dev/revision-message"
SKLEARN = {"storageUri": "s3://models/iris"}
#: A revision that never becomes ready is waited for that long: within it a busy machine makes a pod, which tells why.
HASTE = {"progressDeadline": "10s"}
#: One that does become ready has its time.
PATIENCE = {"progressDeadline": "10m"}


def rolled_out(api: Api, namespace: str, **predictor: Any) -> dict[str, Any]:
    """A service whose first revision has been rolled out, and was kept."""
    given = {"sklearn": SKLEARN, "rollout": HASTE, **predictor}
    created = api.create(namespace, inference_service(**given))
    eventually(lambda: make_ready(api, namespace) and states(api, namespace) == {1: "RolledOut"})
    return created


def states(api: Api, namespace: str) -> dict[int, str]:
    found = api.list("ControllerRevision", namespace)
    return {one["revision"]: one["metadata"]["annotations"][STATE] for one in found}


def change(api: Api, namespace: str, **predictor: Any) -> dict[str, Any]:
    return api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": predictor}})


def crash(api: Api, namespace: str, but: set[str]) -> set[str]:
    """Let every pod but those crash; return which did."""
    state = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no such column: petal", "finishedAt": None}}
    status = {"name": "runtime", "ready": False, "restartCount": 3, "image": "i", "imageID": "i", "state": state}
    crashed = {pod["metadata"]["name"] for pod in pods(api, namespace)} - but
    for name in crashed:
        report(api, namespace, name, {"phase": "Running", "containerStatuses": [status]})
    return crashed


def ready(api: Api, namespace: str, reason: str, kind: str = "Ready") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = condition(api.get("InferenceService", namespace, "iris"), kind)
        return found if found.get("reason") == reason else None

    found = eventually(look)
    assert found is not None
    return found


def names(api: Api, namespace: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods(api, namespace)}


def test_the_last_good_revision_serves_on_where_the_newest_never_becomes_ready(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    rolled_out(api, namespace, minReplicas=2)
    old = names(api, namespace)

    change(api, namespace, labels={"team": "a"})
    eventually(lambda: crash(api, namespace, old))
    found = ready(api, namespace, "RolledBack")

    assert "False" == found["status"]
    assert found["message"].startswith("Revision 2 (")
    assert "rolled back to revision 1 (" in found["message"]
    assert "no such column: petal" in found["message"]
    eventually(lambda: "Meanwhile 2 pods serve on." in ready(api, namespace, "RolledBack")["message"])
    eventually(lambda: names(api, namespace) == old)
    eventually(lambda: {1: "RolledOut", 2: "Failed"} == states(api, namespace))
    service = api.get("InferenceService", namespace, "iris")
    assert service is not None
    assert "True" == condition(service, "Stalled")["status"]
    assert ("False", "RolledBack") == tuple(condition(service, "Progressing")[part] for part in ("status", "reason"))
    assert "BlockedByFailedLoad" == service["status"]["modelStatus"]["transitionStatus"]
    predictor = service["status"]["components"]["predictor"]
    assert predictor["latestCreatedRevision"] != predictor["latestReadyRevision"]
    eventually(lambda: [e for e in api.list("Event", namespace) if e["reason"] == "RolledBack"])


def test_a_changed_manifest_ends_the_roll_back(operator: OperatorProcess, api: Api, namespace: str) -> None:
    rolled_out(api, namespace)
    old = names(api, namespace)
    change(api, namespace, labels={"team": "a"})
    ready(api, namespace, "RolledBack")

    change(api, namespace, labels={"team": "b"})
    eventually(lambda: make_ready(api, namespace) and not old & names(api, namespace))

    ready(api, namespace, "Loaded")
    eventually(lambda: {1: "RolledOut", 2: "Failed", 3: "RolledOut"} == states(api, namespace))


def test_the_same_revision_is_tried_again_when_the_manifest_asks_anew(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    rolled_out(api, namespace)
    old = names(api, namespace)
    change(api, namespace, labels={"team": "a"})
    ready(api, namespace, "RolledBack")

    # Any change of the spec is one, also of what is no part of the pods.
    change(api, namespace, rollout={"progressDeadline": "1h"})
    eventually(lambda: make_ready(api, namespace) and not old & names(api, namespace))

    ready(api, namespace, "Loaded")
    eventually(lambda: {1: "RolledOut", 3: "RolledOut"} == states(api, namespace))


def test_a_roll_back_brings_the_configuration_and_the_service_of_its_revision_back(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    rolled_out(api, namespace)

    def seen() -> tuple[str, int]:
        config = api.get("ConfigMap", namespace, "iris-predictor-runtime")
        service = api.get("Service", namespace, "iris-predictor")
        assert config is not None
        assert service is not None
        return config["data"]["runtime.yaml"], service["spec"]["ports"][0]["port"]

    before = seen()
    change(api, namespace, timeout=7, tls={"secretName": "certificate"})
    eventually(lambda: seen()[1] == 443)
    ready(api, namespace, "RolledBack")

    eventually(lambda: before == seen())


def test_pods_that_are_gone_back_to_ask_their_callers_as_the_manifest_says(
    operator: OperatorProcess, api: Api, namespace: str, audit_log: Path
) -> None:
    rolled_out(api, namespace)
    old = names(api, namespace)
    api.create(
        namespace, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a": "b"}}
    )

    auth = {"apiKeys": {"secretName": "keys"}}
    body = {"spec": {"auth": auth, "predictor": {"labels": {"team": "a"}}}}
    api.patch("InferenceService", namespace, "iris", body)
    eventually(lambda: crash(api, namespace, old))
    assert "until they are ready others may serve without" in ready(api, namespace, "RolledBack")["message"]

    # The pod that served goes once one that asks is there; it has no label of the version that failed.
    eventually(lambda: make_ready(api, namespace) and not old & names(api, namespace))
    eventually(lambda: "its pods have spec.auth" in ready(api, namespace, "RolledBack")["message"])
    (pod,) = eventually(lambda: found if len(found := pods(api, namespace)) == 1 else [])
    assert "api-keys" in {volume["name"] for volume in pod["spec"]["volumes"]}
    assert "team" not in pod["metadata"]["labels"]
    eventually(lambda: {1: "RolledOut", 2: "Failed"} == states(api, namespace))
    Writes(audit_log, namespace).at_rest()


def test_keys_out_of_env_from_go_along_with_a_roll_back_and_are_told_of_where_they_are_not_there(
    operator: OperatorProcess, api: Api, namespace: str, audit_log: Path
) -> None:
    rolled_out(api, namespace)
    old = names(api, namespace)

    change(api, namespace, labels={"team": "a"}, sklearn=SKLEARN | {"envFrom": [{"secretRef": {"name": "keys"}}]})
    message = "ATTENTION: it serves without secretRef 'keys' of envFrom of the manifest"
    eventually(lambda: message in ready(api, namespace, "RolledBack")["message"])
    eventually(lambda: old == names(api, namespace))
    given = {"PILLION_API_KEY": "b", "SPEED": "2", "1.crt": ""}
    api.create(namespace, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": given})

    eventually(lambda: make_ready(api, namespace) and not old & names(api, namespace))
    text = "its pods have the variables of the runtime's auth"
    eventually(lambda: text in ready(api, namespace, "RolledBack")["message"])
    (pod,) = eventually(lambda: found if len(found := pods(api, namespace)) == 1 else [])
    (container,) = pod["spec"]["containers"]
    source = {"secretKeyRef": {"name": "keys", "key": "PILLION_API_KEY"}}
    assert [{"name": "PILLION_API_KEY", "valueFrom": source}] == container["env"]
    assert "envFrom" not in container
    Writes(audit_log, namespace).at_rest()


def test_pods_that_are_gone_back_to_load_no_pickle_that_is_denied_since(
    operator: OperatorProcess, api: Api, cluster: ControlPlane, namespace: str, audit_log: Path
) -> None:
    rolled_out(api, namespace, sklearn=SKLEARN | {"allowPickle": True})
    old = names(api, namespace)

    cluster.kubectl("label", "namespace", namespace, "serving.pillion.dev/pickle-policy=deny")
    change(api, namespace, labels={"team": "a"})
    text = "its new pods load no pickle (the pickle policy is 'deny', by the label"
    eventually(lambda: text in ready(api, namespace, "RolledBack")["message"])

    config = api.get("ConfigMap", namespace, "iris-predictor-runtime")
    assert config is not None
    assert "allowPickle" not in config["data"]["runtime.yaml"]
    # The kubelet lets the new pods fail: that which has loaded its pickle serves on.
    eventually(lambda: old < names(api, namespace))
    Writes(audit_log, namespace).at_rest()
    assert old < names(api, namespace)


def test_files_that_are_being_fetched_are_progress(
    operator: OperatorProcess, api: Api, namespace: str, audit_log: Path
) -> None:
    rolled_out(api, namespace)
    old = names(api, namespace)
    change(api, namespace, labels={"team": "a"})
    new = eventually(lambda: names(api, namespace) - old).pop()
    storage = {"name": "storage", "ready": False, "restartCount": 0, "image": "i", "imageID": "i"}

    def tell(state: dict[str, Any]) -> None:
        body = {"status": {"phase": "Pending", "initContainerStatuses": [storage | {"state": state}]}}
        api.patch("Pod", namespace, new, body, subresource="status", manager="kubelet")

    tell({"running": {}})

    def late() -> bool:
        found = condition(api.get("Deployment", namespace, "iris-predictor"), "Progressing")
        return found.get("reason") == "ProgressDeadlineExceeded"

    eventually(late)
    Writes(audit_log, namespace).at_rest()
    assert {1: "RolledOut"} == states(api, namespace)
    assert new in names(api, namespace)

    # Nothing arrives any more, and the step says so.
    told = json.dumps({"reason": "DownloadStalled", "message": "no byte in 60 s"})
    tell({"terminated": {"exitCode": 5, "reason": "Error", "message": told}})
    found = ready(api, namespace, "RolledBack")
    assert "no byte in 60 s" in found["message"]


def test_without_a_good_revision_there_is_nothing_to_go_back_to(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service(sklearn=SKLEARN, rollout=HASTE))
    eventually(lambda: crash(api, namespace, set()))

    def stalled() -> bool:
        return condition(api.get("InferenceService", namespace, "iris"), "Stalled").get("status") == "True"

    eventually(stalled)
    assert {} == states(api, namespace)
    assert 1 == len(pods(api, namespace))


def test_a_revision_of_somebody_else_with_our_name_is_left_alone_and_named(
    operator: OperatorProcess, api: Api, namespace: str, audit_log: Path
) -> None:
    api.create(namespace, inference_service(sklearn=SKLEARN, rollout=PATIENCE))
    live = eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))
    assert live is not None
    digest = live["spec"]["template"]["metadata"]["annotations"]["serving.pillion.dev/revision"]
    # Its owner is called like the service, and is none.
    config = api.create(namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "iris"}})
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "iris", "uid": config["metadata"]["uid"]}
    name = f"iris-predictor-{digest}"
    metadata = {"name": name, "ownerReferences": [owner]}
    foreign = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "revision": 1, "data": {}}
    created = api.create(namespace, foreign)
    eventually(lambda: make_ready(api, namespace))

    def named() -> dict[str, Any] | None:
        found = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured")
        return found if found.get("reason") == "NameConflict" else None

    found = eventually(named)
    assert found is not None
    assert f"'{name}' cannot be kept" in found["message"]
    ready(api, namespace, "Loaded")
    # Nobody tries again and again.
    Writes(audit_log, namespace).at_rest()
    assert created == api.get("ControllerRevision", namespace, name)


def test_a_bounded_number_of_revisions_is_kept(operator: OperatorProcess, api: Api, namespace: str) -> None:
    rolled_out(api, namespace, rollout=PATIENCE)
    for number in range(2, 8):
        change(api, namespace, labels={"team": f"t{number}"})
        eventually(lambda: make_ready(api, namespace) and number in states(api, namespace))  # noqa: B023 - called at once

    eventually(lambda: sorted(states(api, namespace)) == [3, 4, 5, 6, 7])


def test_a_paused_rollout_waits_until_it_is_resumed(operator: OperatorProcess, api: Api, namespace: str) -> None:
    rolled_out(api, namespace, rollout=PATIENCE)
    old = names(api, namespace)
    paused = {"serving.pillion.dev/paused": "true"}
    api.patch("InferenceService", namespace, "iris", {"metadata": {"annotations": paused}})
    eventually(lambda: (api.get("Deployment", namespace, "iris-predictor") or {})["spec"].get("paused"))

    change(api, namespace, labels={"team": "a"})

    def progressing() -> str:
        found: str = condition(api.get("InferenceService", namespace, "iris"), "Progressing").get("reason", "")
        return found

    eventually(lambda: progressing() == "Paused")
    assert old == names(api, namespace)
    api.patch(
        "InferenceService", namespace, "iris", {"metadata": {"annotations": {"serving.pillion.dev/paused": None}}}
    )
    eventually(lambda: make_ready(api, namespace) and not old & names(api, namespace))


def test_a_deadline_that_cannot_be_kept_is_named(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, inference_service(sklearn=SKLEARN, rollout={"progressDeadline": "500ms"}))

    def named() -> str:
        found: str = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured").get("message", "")
        return found

    assert "spec.predictor.rollout.progressDeadline (a pod is available 3 s after it is ready: 4s" in eventually(named)
