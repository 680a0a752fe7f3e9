"""What the status says when something is wrong, and that it recovers. The tests play the kubelet's part."""

from __future__ import annotations

import base64
import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane

NOW = dt.datetime.now(dt.UTC)
TLS: dict[str, Any] = {"tls": {"secretName": "iris-tls"}, "sklearn": {"storageUri": "s3://models/iris"}}


def ready_reason(api: Api, namespace: str, reason: str, kind: str = "Ready") -> dict[str, Any]:
    """The condition, once it has that reason."""

    def look() -> dict[str, Any] | None:
        found = condition(api.get("InferenceService", namespace, "iris"), kind)
        return found if found.get("reason") == reason else None

    found = eventually(look)
    assert found is not None
    return found


def pod_of(api: Api, namespace: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = api.list("Pod", namespace, labelSelector="serving.pillion.dev/inferenceservice=iris")
        return found[0] if found else None

    pod = eventually(look)
    assert pod is not None
    return pod


def play_kubelet(api: Api, namespace: str, status: dict[str, Any]) -> str:
    """Write the pod's status as a kubelet would; return the pod's name."""
    name: str = pod_of(api, namespace)["metadata"]["name"]
    api.patch("Pod", namespace, name, {"status": status}, subresource="status", manager="kubelet")
    return name


def container(name: str, state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "lastState": last or {},
        "ready": False,
        "restartCount": 1,
        "image": "registry/pillion-runtime:1",
        "imageID": "",
    }


def certificate(*, days: int = 30, other_key: bool = False) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "iris")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - dt.timedelta(days=60))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    shown = ec.generate_private_key(ec.SECP256R1()) if other_key else key
    pem = shown.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"tls.crt": signed.public_bytes(serialization.Encoding.PEM).decode(), "tls.key": pem.decode()}


def secret(data: dict[str, str]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "iris-tls"}, "data": encoded}


def test_a_ready_pod_makes_the_service_ready(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, inference_service())
    since = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]

    play_kubelet(api, namespace, {"phase": "Running", "conditions": ready})

    found = ready_reason(api, namespace, "Loaded")
    assert "True" == found["status"]
    ready_reason(api, namespace, "Settled", "Reconciling")
    service = api.get("InferenceService", namespace, "iris")
    assert service is not None
    assert "Loaded" == service["status"]["modelStatus"]["states"]["activeModelState"]
    assert "UpToDate" == service["status"]["modelStatus"]["transitionStatus"]
    assert "1/1" == service["status"]["replicas"]["summary"]
    assert ("False", "False") == (condition(service, "Reconciling")["status"], condition(service, "Stalled")["status"])
    eventually(lambda: [e for e in api.list("Event", namespace) if e["reason"] == "Loaded"])


@pytest.mark.parametrize(
    ("reason", "said", "statuses"),
    [
        (
            "OOMKilled",
            "resources.limits.memory",
            {"containerStatuses": [container("runtime", {"terminated": {"reason": "OOMKilled", "exitCode": 137}})]},
        ),
        (
            "ImagePullBackOff",
            "registry/pillion-runtime:1",
            {"containerStatuses": [container("runtime", {"waiting": {"reason": "ImagePullBackOff"}})]},
        ),
        (
            "CrashLoopBackOff",
            "the port 8080 is in use",
            {
                "containerStatuses": [
                    container(
                        "runtime",
                        {"waiting": {"reason": "CrashLoopBackOff"}},
                        {
                            "terminated": {
                                "exitCode": 3,
                                "message": '{"message": "starting"}\nthe port 8080 is in use\n',
                            }
                        },
                    )
                ]
            },
        ),
        (
            "ObjectNotFound",
            "check the path",
            {
                "initContainerStatuses": [
                    container(
                        "storage",
                        {
                            "terminated": {
                                "exitCode": 20,
                                "message": '{"reason": "ObjectNotFound", "message": "no object s3://models/iris", '
                                '"remedy": "check the path"}',
                            }
                        },
                    )
                ]
            },
        ),
        (
            "Unschedulable",
            "insufficient memory",
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available: insufficient memory",
                    }
                ]
            },
        ),
    ],
)
def test_a_pod_that_fails_says_why_and_what_to_do(
    operator: OperatorProcess, api: Api, namespace: str, reason: str, said: str, statuses: dict[str, Any]
) -> None:
    api.create(namespace, inference_service())

    pod = play_kubelet(api, namespace, {"phase": "Pending", **statuses})

    found = ready_reason(api, namespace, reason)
    assert said in found["message"]
    assert pod in found["message"] or reason == "ObjectNotFound"
    service = api.get("InferenceService", namespace, "iris")
    assert service is not None
    assert reason == service["status"]["modelStatus"]["lastFailureInfo"]["reason"]


def test_an_object_in_the_way_is_not_touched(operator: OperatorProcess, api: Api, namespace: str) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "iris-predictor"},
        "spec": {"ports": [{"port": 5432}], "selector": {"app": "database"}},
    }
    before = api.create(namespace, foreign)

    api.create(namespace, inference_service())

    found = ready_reason(api, namespace, "NameConflict")
    assert "iris-predictor" in found["message"]
    assert "True" == ready_reason(api, namespace, "NameConflict", "Stalled")["status"]
    eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))
    after = api.get("Service", namespace, "iris-predictor")
    assert after is not None
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


def test_a_service_recovers_when_what_was_in_the_way_is_gone(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "iris-predictor"},
        "spec": {"ports": [{"port": 5432}]},
    }
    api.create(namespace, foreign)
    api.create(namespace, inference_service())
    ready_reason(api, namespace, "NameConflict")

    api.delete("Service", namespace, "iris-predictor")

    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "RoutesReady").get("status") == "True")


def test_a_missing_secret_is_named_and_the_service_recovers_when_it_appears(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service(**TLS))
    assert "iris-tls" in ready_reason(api, namespace, "SecretNotFound")["message"]
    assert api.get("Deployment", namespace, "iris-predictor") is not None

    api.create(namespace, secret(certificate()))

    ready_reason(api, namespace, "Starting")
    service = api.get("Service", namespace, "iris-predictor")
    assert service is not None
    assert [443, 8081] == [port["port"] for port in service["spec"]["ports"]]


@pytest.mark.parametrize(
    ("reason", "said", "data"),
    [
        ("CertificateExpired", "expired at", certificate(days=-1)),
        ("CertificateInvalid", "does not belong to", certificate(other_key=True)),
        ("CertificateInvalid", "lacks tls.key", {"tls.crt": certificate()["tls.crt"]}),
        ("CertificateInvalid", "not a certificate", {"tls.crt": "torn", "tls.key": "torn"}),
    ],
)
def test_a_certificate_that_cannot_serve_is_told(
    operator: OperatorProcess, api: Api, namespace: str, reason: str, said: str, data: dict[str, str]
) -> None:
    api.create(namespace, secret(data))

    api.create(namespace, inference_service(**TLS))

    assert said in ready_reason(api, namespace, reason)["message"]


def test_a_renewed_certificate_does_not_roll_the_pods(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, secret(certificate(days=-1)))
    api.create(namespace, inference_service(**TLS))
    ready_reason(api, namespace, "CertificateExpired")
    before = api.get("Deployment", namespace, "iris-predictor")

    api.patch("Secret", namespace, "iris-tls", {"data": secret(certificate())["data"]})
    api.patch("InferenceService", namespace, "iris", {"metadata": {"labels": {"look": "again"}}})

    def renewed() -> bool:
        return bool(
            condition(api.get("InferenceService", namespace, "iris"), "Ready")["reason"] != "CertificateExpired"
        )

    eventually(renewed)
    after = api.get("Deployment", namespace, "iris-predictor")
    assert before is not None
    assert after is not None
    assert before["metadata"]["generation"] == after["metadata"]["generation"]


@pytest.mark.parametrize(
    ("reason", "said", "predictor"),
    [
        ("LocalFile", "pillion push", {"sklearn": {"storageUri": "file:///home/me/iris.skops"}}),
        ("UnsupportedStorage", "'hdfs'", {"sklearn": {"storageUri": "hdfs://someone/iris"}}),
        ("NoServingRuntime", "'tensorflow'", {"tensorflow": {"storageUri": "s3://models/iris"}}),
        ("ServingRuntimeNotFound", "'mine'", {"sklearn": {"storageUri": "s3://models/iris", "runtime": "mine"}}),
        ("Refused", "API server refused", {"sklearn": {"storageUri": "s3://models/iris"}, "nodeName": "Not A Node"}),
        (
            "Refused",
            "affinity.nodeaffinity",
            {"sklearn": {"storageUri": "s3://models/iris"}, "affinity": {"nodeaffinity": {}}},
        ),
    ],
)
def test_a_manifest_that_cannot_be_served_stalls_with_the_reason(
    operator: OperatorProcess, api: Api, namespace: str, reason: str, said: str, predictor: dict[str, Any]
) -> None:
    api.create(namespace, inference_service(**predictor))

    assert said in ready_reason(api, namespace, reason)["message"]


def test_a_broken_change_keeps_the_former_version_running(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, inference_service())
    before = pod_of(api, namespace)["metadata"]["name"]

    patch = {"spec": {"predictor": {"sklearn": {"storageUri": "file:///tmp/iris"}}}}
    api.patch("InferenceService", namespace, "iris", patch)

    ready_reason(api, namespace, "LocalFile")
    assert before == pod_of(api, namespace)["metadata"]["name"]


def test_a_missing_configmap_is_named(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, inference_service(sklearn={"storageUri": "configmap://iris"}))

    assert "ConfigMap 'iris'" in ready_reason(api, namespace, "ConfigMapNotFound")["message"]
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "iris"}, "data": {"iris.skops": ""}}
    api.create(namespace, config)
    ready_reason(api, namespace, "Starting")


def test_a_field_without_effect_is_named(operator: OperatorProcess, api: Api, namespace: str) -> None:
    predictor: dict[str, Any] = {"sklearn": {"storageUri": "s3://models/iris"}, "storageContainerName": "own"}
    api.create(namespace, inference_service(**predictor))

    found = ready_reason(api, namespace, "FieldsNotHonoured", "FieldsHonoured")

    assert "False" == found["status"]
    assert "spec.predictor.storageContainerName" in found["message"]


def test_a_quota_that_is_used_up_is_told(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"requests.cpu": "1m"}},
    }
    api.create(namespace, quota)
    # No controller fills it in here; without a status the quota does not count.
    status = {"status": {"hard": {"requests.cpu": "1m"}, "used": {"requests.cpu": "1m"}}}
    api.patch("ResourceQuota", namespace, "none", status, subresource="status")

    api.create(namespace, inference_service())

    assert "exceeded quota: none," in ready_reason(api, namespace, "QuotaExceeded")["message"]


def test_a_runtime_of_the_namespace_comes_before_the_clusters(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    runtime = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "ServingRuntime",
        "metadata": {"name": "mine"},
        "spec": {
            "supportedModelFormats": [{"name": "sklearn", "autoSelect": True}],
            "containers": [
                {"name": "kserve-container", "image": "example.com/mlserver:1", "args": ["--name={{.Name}}"]}
            ],
        },
    }
    api.create(namespace, inference_service())
    eventually(functools.partial(api.get, "Deployment", namespace, "iris-predictor"))

    api.create(namespace, runtime)

    def image() -> str:
        deployment = api.get("Deployment", namespace, "iris-predictor")
        assert deployment is not None
        found: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        return found

    eventually(lambda: image() == "example.com/mlserver:1")
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    assert ["--name=iris"] == deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    # What only Pillion's runtime reads is gone with it.
    eventually(lambda: api.get("ConfigMap", namespace, "iris-predictor-runtime") is None)
