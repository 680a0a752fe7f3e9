"""From a model file to the status: the real operator, the real API server, and the real runtime in place of a pod.

The test plays the kubelet. It starts the runtime with the `runtime.yaml` that the operator rendered, on a loopback
address of its own, and writes that address into the pod's status, so that the operator asks the runtime itself.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sklearn
import yaml

from pillion_operator.state.names import ADMIN_PORT
from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service, running
from tests.integration.operator.kubelet import address
from tests.integration.operator.test_conditions import container, play_kubelet, pod_of, ready_reason
from tests.models import IrisModels, train_iris

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

LABEL = "serving.pillion.dev/pickle-policy"
_addresses = (address(number) for number in itertools.count(110))


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """As everywhere, but quick to look at the labels of namespaces again."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    settings = {"lease_namespace": "pillion-system", "resync_seconds": "2", "trusted_types": "house.Scale"}
    with running(operator_kubeconfig, log, **settings) as process:
        yield process.wait_leading()


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> IrisModels:
    return train_iris(tmp_path_factory.mktemp("iris"))


@contextlib.contextmanager
def kubelet(api: Api, namespace: str, files: Path, folder: Path) -> Iterator[str]:
    """Run the newest pod of `iris` with `files` as its model until the block ends; gives the runtime's address."""
    pod = pod_of(api, namespace)
    config = api.get("ConfigMap", namespace, "iris-predictor-runtime")
    assert config is not None
    document = yaml.safe_load(config["data"]["runtime.yaml"])
    document["models"][0]["path"] = str(files)
    ip = next(_addresses)
    path = folder / f"{ip}.yaml"
    path.write_text(yaml.safe_dump(document))
    hosts = [f"--{port}-host={ip}" for port in ("http", "grpc", "admin")]
    ports = ["--http-port=0", "--grpc-port=0", f"--admin-port={ADMIN_PORT}", "--control-socket="]
    with (folder / f"{ip}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pillion.server", "--config", str(path), *hosts, *ports], stdout=log, stderr=log
        )
    try:
        play_kubelet(api, namespace, _status(ip, ready=False))
        ready = eventually(lambda: {"READY": [True], "UNAVAILABLE": [False]}.get(_state(ip)))
        if ready == [True]:
            play_kubelet(api, namespace, _status(ip, ready=True, since=pod["metadata"]["creationTimestamp"]))
        yield ip
    finally:
        process.terminate()
        process.wait(30)


def _status(ip: str, *, ready: bool, since: str = "") -> dict[str, Any]:
    running = container("runtime", {"running": {"startedAt": "2026-01-01T00:00:00Z"}}) | {"ready": ready}
    status: dict[str, Any] = {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "containerStatuses": [running],
    }
    if ready:
        status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    return status


def _state(ip: str) -> str:
    try:
        answer = httpx.get(f"http://{ip}:{ADMIN_PORT}/status", timeout=2, trust_env=False)
    except httpx.TransportError:
        return ""
    state: str = answer.json()["models"][0]["state"]
    return state


def model_of(api: Api, namespace: str) -> dict[str, Any]:
    config = api.get("ConfigMap", namespace, "iris-predictor-runtime")
    model: dict[str, Any] = yaml.safe_load(config["data"]["runtime.yaml"])["models"][0] if config else {}
    return model


def label(cluster: ControlPlane, namespace: str, policy: str) -> None:
    cluster.kubectl("label", "namespace", namespace, "--overwrite", f"{LABEL}={policy}")


def test_a_pickle_that_nobody_allowed_is_refused_with_the_command_that_converts_it(
    operator: OperatorProcess, api: Api, namespace: str, iris: IrisModels, tmp_path: Path
) -> None:
    api.create(namespace, inference_service())

    with kubelet(api, namespace, iris.joblib, tmp_path):
        ready = ready_reason(api, namespace, "UnsafeFormat")
        service = api.get("InferenceService", namespace, "iris")
    assert "pillion convert-model iris.joblib -o iris.skops --allow-pickle" in ready["message"]
    assert "allowPickle: true" in ready["message"]
    assert ("UnsafeFormat", "True") == (
        condition(service, "ModelLoaded")["reason"],
        condition(service, "Stalled")["status"],
    )


def test_a_namespace_that_denies_pickles_refuses_one_that_its_object_allows(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, iris: IrisModels, tmp_path: Path
) -> None:
    label(cluster, namespace, "deny")
    api.create(namespace, inference_service(sklearn={"storageUri": "s3://models/iris", "allowPickle": True}))

    with kubelet(api, namespace, iris.joblib, tmp_path):
        ready = ready_reason(api, namespace, "UnsafeFormat")
    assert f"by the label {LABEL}=deny of the namespace '{namespace}'" in ready["message"]
    assert "pillion convert-model iris.joblib" in ready["message"]
    honoured = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured")
    assert "False" == honoured["status"]
    assert "allowPickle" in honoured["message"]


def test_a_namespace_that_allows_pickles_needs_no_word_of_the_object(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, iris: IrisModels, tmp_path: Path
) -> None:
    label(cluster, namespace, "allow")
    api.create(namespace, inference_service())

    with kubelet(api, namespace, iris.joblib, tmp_path):
        assert "True" == ready_reason(api, namespace, "Loaded")["status"]


def test_a_label_that_is_changed_reaches_the_services_that_run(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service(sklearn={"storageUri": "s3://models/iris", "allowPickle": True}))
    eventually(lambda: model_of(api, namespace).get("allowPickle"))

    label(cluster, namespace, "deny")
    eventually(lambda: model_of(api, namespace).get("picklePolicy") == "deny")
    assert "allowPickle" not in model_of(api, namespace)
    label(cluster, namespace, "allways")
    eventually(
        lambda: (
            "none of deny, perObject, allow"
            in condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured").get("message", "")
        )
    )
    cluster.kubectl("label", "namespace", namespace, f"{LABEL}-")
    eventually(lambda: model_of(api, namespace).get("allowPickle"))


def test_types_are_trusted_by_manifest_and_installation_and_the_refusal_lists_the_rest(
    operator: OperatorProcess, api: Api, namespace: str, iris: IrisModels, tmp_path: Path
) -> None:
    files = _foreign(iris, tmp_path)
    api.create(namespace, inference_service(sklearn={"storageUri": "s3://models/iris", "trustedTypes": ["own.Clip"]}))
    eventually(lambda: model_of(api, namespace).get("trustedTypes") == ["house.Scale", "own.Clip"])

    with kubelet(api, namespace, files, tmp_path):
        ready = ready_reason(api, namespace, "UntrustedTypes")
    assert "add trustedTypes: [foreign.LogisticRegression]" in ready["message"]


def _foreign(iris: IrisModels, folder: Path) -> Path:
    return _rewritten(iris.skops, folder, b'"sklearn.linear_model._logistic"', b'"foreign"')


def _rewritten(source: Path, folder: Path, before: bytes, after: bytes) -> Path:
    path = folder / "model.skops"
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(path, "w") as target:
        for name in given.namelist():
            content = given.read(name)
            if name == "schema.json":
                assert before in content
                content = content.replace(before, after)
            target.writestr(name, content)
    return path


def test_the_status_shows_the_versions_that_saved_and_load_the_model_and_warns_once(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, iris: IrisModels, tmp_path: Path
) -> None:
    files = _rewritten(iris.skops, tmp_path, sklearn.__version__.encode(), b"1.5.2")
    api.create(namespace, inference_service())

    with kubelet(api, namespace, files, tmp_path):
        ready = ready_reason(api, namespace, "Loaded")
        assert "saved by scikit-learn 1.5.2" in ready["message"]
        assert "runtimeVersion: sklearn-1.5" in ready["message"]
        shown = yaml.safe_load(cluster.kubectl("get", "pisvc", "iris", "-n", namespace, "-o", "yaml"))
        libraries = shown["status"]["modelStatus"]["libraries"]
        assert "1.5.2" == libraries["saved"]["scikit-learn"]
        assert sklearn.__version__ == libraries["loading"]["scikit-learn"]
        told = eventually(lambda: [e for e in api.list("Event", namespace) if e["reason"] == "LibraryMismatch"])
        # Another pass of the operator over the same state says it no second time.
        api.patch("InferenceService", namespace, "iris", {"metadata": {"annotations": {"touched": "yes"}}})
        api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"timeout": 61}}})
        eventually(
            lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready")["observedGeneration"] == 2
        )
    assert [("Warning", 1)] == [(event["type"], event["count"]) for event in told]
    told = [e for e in api.list("Event", namespace) if e["reason"] == "LibraryMismatch"]
    assert [1] == [event["count"] for event in told]


def test_a_model_that_only_another_version_reads_names_the_runtime_that_does(
    operator: OperatorProcess, api: Api, namespace: str, iris: IrisModels, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    old = _rewritten(iris.skops, tmp_path / "old", sklearn.__version__.encode(), b"1.5.2")
    files = _rewritten(old, tmp_path, b'"LogisticRegression"', b'"LogisticRegressionOfOld"')
    api.create(namespace, inference_service())

    with kubelet(api, namespace, files, tmp_path):
        ready = ready_reason(api, namespace, "LibraryMismatch")
    assert "set runtimeVersion: sklearn-1.5 in the manifest" in ready["message"]

    api.patch(
        "InferenceService", namespace, "iris", {"spec": {"predictor": {"sklearn": {"runtimeVersion": "sklearn-1.5"}}}}
    )

    def image() -> str:
        live = api.get("Deployment", namespace, "iris-predictor") or {}
        found: str = live["spec"]["template"]["spec"]["containers"][0]["image"]
        return found

    eventually(lambda: image().endswith(":dev-sklearn-1.5"))


MOOD = """
from pillion import Model

class Mood(Model):
    def predict(self, text: list[str]) -> list[int]:
        return [each.count("good") for each in text]
"""
CODE_LABEL = "serving.pillion.dev/code-policy"


def python_model(**own: Any) -> dict[str, Any]:
    return inference_service(model={"modelFormat": {"name": "python"}, "storageUri": "s3://models/mood", **own})


def test_a_class_from_storage_is_refused_before_any_pod_until_its_manifest_trusts_it(
    operator: OperatorProcess, api: Api, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(MOOD)
    api.create(namespace, python_model())
    ready = ready_reason(api, namespace, "UntrustedCode")
    assert "spec.predictor.model.trustCode: true" in ready["message"]
    assert "pillion deploy FOLDER --image HOST/NAME:TAG" in ready["message"]
    assert "True" == condition(api.get("InferenceService", namespace, "iris"), "Stalled")["status"]
    assert [] == api.list("Deployment", namespace)

    trusted = {"spec": {"predictor": {"model": {"trustCode": True}}}}
    api.patch("InferenceService", namespace, "iris", trusted)

    with kubelet(api, namespace, tmp_path, tmp_path) as ip:
        ready_reason(api, namespace, "Loaded")
        status = httpx.get(f"http://{ip}:{ADMIN_PORT}/status", timeout=60, trust_env=False).json()
    assert [("iris", "READY", "python")] == [(m["name"], m["state"], m["format"]) for m in status["models"]]


def test_a_namespace_that_denies_code_overrules_the_manifest_until_its_label_changes(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    cluster.kubectl("label", "namespace", namespace, f"{CODE_LABEL}=deny")
    api.create(namespace, python_model(trustCode=True))
    ready = ready_reason(api, namespace, "UntrustedCode")
    assert f"by the label {CODE_LABEL}=deny of the namespace '{namespace}'" in ready["message"]
    assert "set spec.predictor.model.trustCode" not in ready["message"]

    cluster.kubectl("label", "namespace", namespace, "--overwrite", f"{CODE_LABEL}=perObject")

    eventually(lambda: model_of(api, namespace).get("trustCode"))
