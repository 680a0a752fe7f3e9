"""The operator as a process: scope, rights, settings, probes, stopping, idling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from pillion_operator.rbac import cluster_rules, ingress_rules, lease_rules, manifests, namespace_rules
from tests.integration.operator.auditing import OPERATOR
from tests.integration.operator.harness import (
    Api,
    OperatorProcess,
    apply,
    audited,
    batch_prediction,
    condition,
    eventually,
    inference_service,
    running,
    training_job,
)
from tests.integration.operator.kubelet import pods as pods_of
from tests.integration.operator.node import HASH
from tests.integration.operator.test_rolling_back import rolled_out

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

_WRITES = {"create", "update", "patch", "delete"}
#: Rights that only matter where an admission plugin or a rare event asks for them; each with the reason.
RARELY_USED = {
    ("inferenceservices/finalizers", "update"): "OwnerReferencesPermissionEnforcement",
    ("inferenceservices", "get"): "a change that a watch missed",
    ("servingruntimes", "get"): "a change that a watch missed",
    ("clusterservingruntimes", "get"): "a change that a watch missed",
    ("models", "get"): "a change that a watch missed",
    ("trainingjobs/finalizers", "update"): "OwnerReferencesPermissionEnforcement",
    ("trainingjobs", "get"): "a change that a watch missed",
    ("batchpredictions/finalizers", "update"): "OwnerReferencesPermissionEnforcement",
    ("batchpredictions", "get"): "a change that a watch missed",
    ("pods", "get"): "a change that a watch missed",
    ("events", "get"): "an event that repeats after a restart",
    ("events", "patch"): "an event that repeats after a restart",
    ("persistentvolumeclaims", "get"): "a model on a volume",
    ("controllerrevisions", "get"): "a rollout that failed",
    ("controllerrevisions", "patch"): "a revision that comes again",
    ("controllerrevisions", "delete"): "more revisions than are kept",
    ("configmaps", "delete"): "a serving runtime that needs none",
    ("services", "delete"): "nothing plans a service without a Service yet",
    ("deployments", "delete"): "a Deployment of a former service of this name",
    ("configmaps", "update"): "an entry that others added",
    ("services", "update"): "an entry that others added",
    ("poddisruptionbudgets", "update"): "an entry that others added",
    ("networkpolicies", "update"): "an entry that others added",
    ("horizontalpodautoscalers", "update"): "an entry that others added",
} | {
    (kind, verb): "a cluster with the Prometheus operator: see test_monitors"
    for kind in ("servicemonitors", "podmonitors")
    for verb in ("get", "list", "watch", "create", "patch", "update", "delete")
}


def test_one_namespace_needs_no_right_in_the_cluster(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("create", "serviceaccount", "operator", "--namespace", namespace)
    apply(cluster, *manifests(service_account="operator", operator_namespace=namespace, namespaces=(namespace,)))
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "operator")
    settings = {"namespaces": namespace, "lease_namespace": namespace}
    with running(kubeconfig, tmp_path / "operator.log", **settings) as process:
        process.wait_leading()
        api.create(namespace, inference_service())

        eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))

        def chosen() -> bool:
            service = api.get("InferenceService", namespace, "iris")
            return bool(service and service.get("status", {}).get("runtime", {}).get("name") == "pillion-sklearn")

        eventually(chosen)
        assert [] == [line for line in process.lines() if "403" in line["message"]]


def test_a_right_that_lacks_is_named_by_readiness_and_a_metric_until_it_is_granted(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("create", "serviceaccount", "operator", "--namespace", namespace)
    whole = manifests(service_account="operator", operator_namespace=namespace, namespaces=(namespace,))
    poor = json.loads(json.dumps(whole))
    for rule in (rule for manifest in poor for rule in manifest.get("rules", [])):
        if rule["resources"] == ["controllerrevisions"]:
            rule["verbs"].remove("list")
    apply(cluster, *poor)
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "operator")
    settings = {"namespaces": namespace, "lease_namespace": namespace}
    with running(kubeconfig, tmp_path / "operator.log", **settings) as process:
        process.wait_logged("metrics and probes answer on port")
        eventually(lambda: "lacks rights" in process.probe("/readyz")[1])

        status, text = process.probe("/readyz")
        assert (503, True) == (status, 'cannot list resource "controllerrevisions"' in text), text
        assert f'in the namespace "{namespace}"' in text
        eventually(lambda: process.metric("pillion_operator_lists_refused", kind="controllerrevisions") == 1)
        process.wait_logged("lacks rights")
        assert 1 == sum("lacks rights" in line["message"] for line in process.lines())
        assert 200 == process.probe("/livez")[0]

        apply(cluster, *whole)
        process.wait_leading()
        api.create(namespace, inference_service())
        eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))
        eventually(lambda: process.metric("pillion_operator_lists_refused") == 0)


def test_a_verb_that_lacks_is_named_by_the_condition_before_it_is_needed(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("create", "serviceaccount", "operator", "--namespace", namespace)
    whole = manifests(service_account="operator", operator_namespace=namespace, namespaces=(namespace,))
    poor = json.loads(json.dumps(whole))
    for manifest in poor:
        rules = manifest.get("rules", [])
        rules[:] = [rule for rule in rules if rule["resources"] != ["deployments/scale"]]
    apply(cluster, *poor)
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "operator")
    settings = {"namespaces": namespace, "lease_namespace": namespace, "resync_seconds": "2"}
    with running(kubeconfig, tmp_path / "operator.log", **settings) as process:
        process.wait_leading()
        api.create(namespace, inference_service())

        def honoured() -> tuple[str, str]:
            found = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured")
            return found.get("reason", ""), found.get("message", "")

        text = "The operator may not patch deployments.apps/scale here"
        eventually(lambda: honoured()[0] == "Forbidden" and honoured()[1].startswith(text))
        process.wait_logged(f"the operator may not in namespace {namespace}: patch deployments.apps/scale")
        # Nothing has been refused: one pod needs no change of the number.
        assert api.get("Deployment", namespace, "iris-predictor")

        apply(cluster, *whole)
        eventually(lambda: honoured()[0] == "Honoured")


def test_services_of_other_namespaces_are_left_alone(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("create", "namespace", f"{namespace}-other")
    settings = {"namespaces": namespace, "lease_namespace": namespace}
    with running(cluster.kubeconfig, tmp_path / "operator.log", **settings) as process:
        process.wait_leading()
        api.create(f"{namespace}-other", inference_service())
        api.create(namespace, inference_service())
        eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))

        assert api.get("Deployment", f"{namespace}-other", "iris-predictor") is None
        assert 1 == process.metric("pillion_operator_inferenceservices")


def test_wrong_settings_end_with_a_sentence_and_the_code_for_usage() -> None:
    environment = os.environ | {"PILLION_OPERATOR_WORKERS": "none", "PILLION_OPERATOR_LEASE_RETRY_SECONDS": "1"}

    ended = subprocess.run(
        [sys.executable, "-m", "pillion_operator"], env=environment, capture_output=True, text=True, check=False
    )

    assert 2 == ended.returncode
    assert "workers" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_api_server_ends_with_a_sentence(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    ended = subprocess.run(
        [sys.executable, "-m", "pillion_operator"], env=environment, capture_output=True, text=True, check=False
    )

    assert 2 == ended.returncode
    assert "--kubeconfig" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_built_in_runtimes_keep_the_edits_of_users(
    cluster: ControlPlane, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    settings = {"lease_namespace": "pillion-system", "runtime_image": "registry/new:2"}
    path = "clusterservingruntime/pillion-onnx"

    def image() -> str:
        return cluster.kubectl("get", path, "-o", "jsonpath={.spec.containers[0].image}")

    with running(operator_kubeconfig, tmp_path / "one.log", **settings) as process:
        process.wait_leading()
        eventually(lambda: image() == "registry/new:2")
    edit = '[{"op": "replace", "path": "/spec/containers/0/image", "value": "mine:1"}]'
    cluster.kubectl("patch", path, "--type=json", "-p", edit)
    with running(operator_kubeconfig, tmp_path / "two.log", **settings) as process:
        process.wait_leading()
        process.wait_logged("was edited and is kept")

        assert "mine:1" == image()
    cluster.kubectl("delete", path)


# From here on the module's operator runs, which looks after every namespace.


def test_the_rights_that_are_granted_are_the_rights_that_are_used(
    operator: OperatorProcess, audit_log: Path, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert"}, "stringData": {"a": "b"}}
    api.create(namespace, secret)
    runtime = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "ServingRuntime",
        "metadata": {"name": "unused"},
        "spec": {"supportedModelFormats": [{"name": "other"}], "containers": [{"name": "runtime", "image": "a:1"}]},
    }
    api.create(namespace, runtime)
    eventually(lambda: condition(api.get("ServingRuntime", namespace, "unused"), "Ready"))
    joining = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "Model",
        "metadata": {"name": "fraud"},
        "spec": {"inferenceServiceRef": {"name": "iris"}, "storageUri": "s3://models/fraud"},
    }
    api.create(namespace, batch_prediction())
    eventually(lambda: (api.get("BatchPrediction", namespace, "iris") or {})["status"].get("state"))
    api.create(namespace, training_job())
    eventually(lambda: api.get("Job", namespace, "digits-training"))
    api.patch("TrainingJob", namespace, "digits", {"spec": {"suspend": True}})
    eventually(lambda: (api.get("Job", namespace, "digits-training") or {})["spec"]["suspend"])
    api.patch("TrainingJob", namespace, "digits", {"spec": {"cancel": True}})
    predictor: dict[str, Any] = {
        "minReplicas": 2,
        "maxReplicas": 3,
        "networkPolicy": {},
        "tls": {"secretName": "cert"},
        "sklearn": {"storageUri": "s3://models/iris"},
    }
    manifest = inference_service(**predictor)
    manifest["spec"]["networking"] = {"hosts": [f"{namespace}.example.com"]}
    manifest["spec"]["auth"] = {"serviceAccount": {}}
    api.create(namespace, manifest)
    eventually(lambda: api.get("Ingress", namespace, "iris-predictor"))
    eventually(lambda: api.get("HorizontalPodAutoscaler", namespace, "iris-predictor"))
    # A Model that joins running pods is told to them by an annotation.
    running_pod = {"phase": "Running", "podIP": "127.98.7.1", "podIPs": [{"ip": "127.98.7.1"}]}
    pod = eventually(lambda: pods_of(api, namespace))[0]
    api.patch("Pod", namespace, pod["metadata"]["name"], {"status": running_pod}, subresource="status")
    api.create(namespace, joining)
    eventually(lambda: condition(api.get("Model", namespace, "fraud"), "Ready").get("reason") == "PodNotReached")
    eventually(lambda: HASH in _metadata(api, "Pod", namespace, pod["metadata"]["name"]).get("annotations", {}))
    added = {"spec": {"template": {"spec": {"containers": [{"name": "spy", "image": "spy"}]}}}}
    edited = api.patch("Deployment", namespace, "iris-predictor", added, manager="editor")["metadata"]["generation"]
    eventually(lambda: _metadata(api, "Deployment", namespace, "iris-predictor")["generation"] > edited)
    backend = {"service": {"name": "other", "port": {"number": 80}}}
    api.patch("Ingress", namespace, "iris-predictor", {"spec": {"defaultBackend": backend}}, manager="editor")
    eventually(lambda: "defaultBackend" not in (api.get("Ingress", namespace, "iris-predictor") or {})["spec"])
    less = {"minReplicas": 1, "maxReplicas": 1, "networkPolicy": None}
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": less, "networking": None}})
    needless = ("HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "PodDisruptionBudget")
    eventually(lambda: not any(api.get(kind, namespace, "iris-predictor") for kind in needless))

    # The way to the activator, and away from it.
    api.create(namespace, inference_service("rests", minReplicas=0, sklearn={"storageUri": "s3://models/iris"}))
    way = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/rests-predictor-activator"
    eventually(lambda: api.send("GET", way).status_code == 200)
    api.patch(
        "InferenceService", namespace, "rests", {"metadata": {"annotations": {"serving.pillion.dev/stop": "true"}}}
    )
    eventually(lambda: api.send("GET", way).status_code == 404)

    # A revision that is rolled out is kept.
    cluster.kubectl("create", "namespace", f"{namespace}-kept")
    rolled_out(api, f"{namespace}-kept")

    # One that is cancelled loses its Job, and what was created is told of after all else.
    eventually(lambda: api.get("Job", namespace, "digits-training") is None)
    eventually(lambda: api.list("Event", namespace))
    lines = audited(audit_log, OPERATOR)
    answers = [(line["requestURI"], line.get("responseStatus", {})) for line in lines]
    # A definition that is being deleted refuses everybody, whatever their rights.
    refused = [
        (uri, answer)
        for uri, answer in answers
        if answer.get("code") == 403 and "definition is terminating" not in answer.get("message", "")
    ]
    used = {
        ("/".join(filter(None, (ref["resource"], ref.get("subresource")))), line["verb"])
        for line in lines
        if (ref := line.get("objectRef")) and line["user"]["username"] == OPERATOR
    }
    # Server-side apply of an object that is not there counts as `create` only inside the server.
    used |= {(resource, "create") for resource, verb in used if verb == "patch"}
    rules = (*namespace_rules(), *ingress_rules(), *cluster_rules(), *lease_rules())
    granted = {(rule.resource, verb) for rule in rules for verb in rule.verbs}
    assert [] == refused
    assert set() == granted - used - set(RARELY_USED)


def test_secrets_are_never_listed_or_watched(operator: OperatorProcess, audit_log: Path) -> None:
    assert {"get"} == {verb for rule in namespace_rules() if rule.resource == "secrets" for verb in rule.verbs}
    lines = audited(audit_log, OPERATOR)
    verbs = {line["verb"] for line in lines if line.get("objectRef", {}).get("resource") == "secrets"}
    # It writes those of services with a certificate of its own.
    assert verbs <= {"get", "create", "update"}


def test_an_idle_operator_writes_nothing_but_its_lease(
    operator: OperatorProcess, audit_log: Path, api: Api, namespace: str
) -> None:
    since = audit_log.read_bytes().rfind(b"\n") + 1  # What came before takes long to read, at each look.
    manifest = inference_service()
    beside = {"containers": [{"name": "kserve-container", "image": "registry.example/words:1"}]}
    scaled = {**beside, "minReplicas": 2, "maxReplicas": 3, "networkPolicy": {}}
    manifest["spec"] |= {"transformer": scaled, "explainer": {**beside, "containerConcurrency": 2}}
    api.create(namespace, manifest)
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "ExplainerReady"))
    # The last of what there is to do for it: its pod is told of, and that it was created.
    eventually(lambda: _replicas(api, namespace).get("updated") == 1)
    eventually(lambda: [event for event in api.list("Event", namespace) if event["reason"] == "Created"])

    def writes() -> list[str]:
        lines = audited(audit_log, OPERATOR, since)
        written = [line["objectRef"]["resource"] for line in lines if line["verb"] in _WRITES]
        # A review is a question: it is created, and kept nowhere.
        return [resource for resource in written if not resource.endswith("reviews")]

    assert {"inferenceservices", "deployments", "events"} <= set(writes())
    # However long the cluster's controllers take, whose work is written down in turn: one that is never idle never
    # comes to that.
    eventually(lambda: writes()[-5:] == ["leases"] * 5, pause=0.5)


def _metadata(api: Api, kind: str, namespace: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (api.get(kind, namespace, name) or {"metadata": {}})["metadata"]
    return found


def _replicas(api: Api, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = (api.get("InferenceService", namespace, "iris") or {}).get("status", {}).get("replicas", {})
    return found
