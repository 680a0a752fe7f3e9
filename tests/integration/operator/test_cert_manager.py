"""`tls.certManager`: a Certificate where cert-manager's definitions are, and its word in the conditions.

The definitions are the real ones; what cert-manager's controller would say and make is played.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster.node import gosources
from tests.integration.operator.certified import NAMES, aged, encoded
from tests.integration.operator.harness import (
    PATHS,
    Api,
    Object,
    OperatorProcess,
    condition,
    eventually,
    inference_service,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

ISSUED: dict[str, Any] = {
    "sklearn": {"storageUri": "s3://models/iris"},
    "tls": {"certManager": {"issuerRef": {"name": "ours", "kind": "ClusterIssuer"}, "duration": "720h"}},
}
SECRET = "iris-predictor-certificate"


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator that asks often which kinds there are."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running(operator_kubeconfig, log, lease_namespace="pillion-system", resync_seconds="2") as process:
        yield process.wait_leading()


@pytest.fixture(scope="module")
def cert_manager(cluster: ControlPlane) -> Iterator[None]:
    """From here on the cluster has cert-manager's definitions."""
    files = gosources.cert_manager()
    for file in files:
        cluster.kubectl("apply", "--server-side", "-f", str(file))
    yield
    for file in files:
        cluster.kubectl("delete", "-f", str(file), "--ignore-not-found", "--timeout=100s")


def told(api: Api, namespace: str, reason: str, part: str = "") -> str:
    """The message of PredictorReady, once it has that reason and that part."""

    def look() -> str:
        found = condition(api.get("InferenceService", namespace, "iris"), "PredictorReady")
        return str(found["message"]) if found.get("reason") == reason and part in found["message"] else ""

    return eventually(look)


def asked_for(api: Api, namespace: str) -> Object:
    found = eventually(lambda: api.get("Certificate", namespace, "iris-predictor"))
    assert found is not None
    return found


def say(api: Api, namespace: str, status: str, message: str) -> None:
    """Speak as cert-manager."""
    now = "2030-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": status, "reason": "Played", "message": message, "lastTransitionTime": now}
    path = f"{PATHS['Certificate'].format(namespace)}/iris-predictor/status"
    body = {"status": {"conditions": [ready]}}
    api.send("PATCH", path, body, "application/merge-patch+json").raise_for_status()


def issue(api: Api, namespace: str) -> None:
    """Do as cert-manager: keep the Secret, and say so."""
    pair = aged(tuple(name.format(namespace) for name in NAMES), ca_days=1, certificate_days=1)
    data = pair.as_data()
    del data["ca.key"]
    metadata = {"name": SECRET, "annotations": {"cert-manager.io/certificate-name": "iris-predictor"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata}
    api.create(namespace, secret | {"data": encoded(data)})
    say(api, namespace, "True", "Certificate is up to date and has not expired")


# The order matters here: the first test runs before the definitions are there, the last takes them away.


def test_a_certificate_is_made_as_soon_as_the_cluster_knows_the_kind(
    operator: OperatorProcess, api: Api, namespace: str, request: pytest.FixtureRequest
) -> None:
    api.create(namespace, inference_service(**ISSUED))
    said = told(api, namespace, "CertificatesNotServed")
    assert "install cert-manager, which is taken up by itself" in said
    assert api.get("Deployment", namespace, "iris-predictor") is None

    request.getfixturevalue("cert_manager")

    made = asked_for(api, namespace)
    spec = made["spec"]
    assert SECRET == spec["secretName"]
    assert {"name": "ours", "kind": "ClusterIssuer"} == {field: spec["issuerRef"][field] for field in ("name", "kind")}
    assert [name.format(namespace) for name in NAMES[:5]] == spec["dnsNames"]
    assert ["127.0.0.1", "::1"] == spec["ipAddresses"]
    assert "720h" in spec["duration"]
    assert "InferenceService" == made["metadata"]["ownerReferences"][0]["kind"]
    told(api, namespace, "CertificateNotReady", "cert-manager has said nothing of it yet")


def test_what_cert_manager_says_of_a_certificate_is_shown_until_it_is_ready(
    operator: OperatorProcess, api: Api, namespace: str, cert_manager: None
) -> None:
    api.create(namespace, inference_service(**ISSUED))
    asked_for(api, namespace)

    say(api, namespace, "False", 'issuer "ours" is not there')
    told(
        api, namespace, "CertificateNotReady", "Certificate 'iris-predictor' is not ready: issuer \"ours\" is not there"
    )

    issue(api, namespace)
    told(api, namespace, "Starting")
    service = api.get("InferenceService", namespace, "iris")
    assert service is not None
    assert service["status"]["url"].startswith("https://")
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    volume = next(one for one in deployment["spec"]["template"]["spec"]["volumes"] if one["name"] == "tls")
    assert SECRET == volume["secret"]["secretName"]


def test_a_certificate_that_is_edited_or_deleted_is_restored_and_goes_with_its_field(
    operator: OperatorProcess, api: Api, namespace: str, cert_manager: None
) -> None:
    api.create(namespace, inference_service(**ISSUED))
    first = asked_for(api, namespace)

    path = f"{PATHS['Certificate'].format(namespace)}/iris-predictor"
    edit = {"spec": {"dnsNames": ["elsewhere.example.com"]}}
    api.send("PATCH", path, edit, "application/merge-patch+json").raise_for_status()
    eventually(lambda: asked_for(api, namespace)["spec"]["dnsNames"] == first["spec"]["dnsNames"])

    api.delete("Certificate", namespace, "iris-predictor")
    eventually(lambda: asked_for(api, namespace)["metadata"]["uid"] != first["metadata"]["uid"])

    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"tls": None}}})
    eventually(lambda: api.get("Certificate", namespace, "iris-predictor") is None)


def test_a_secret_of_somebody_else_is_not_given_to_cert_manager_to_write(
    operator: OperatorProcess, api: Api, namespace: str, cert_manager: None
) -> None:
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"tls.crt": "theirs"}}
    api.create(namespace, theirs)
    api.create(namespace, inference_service(**ISSUED))

    assert f"Secret '{SECRET}' exists and does not belong" in told(api, namespace, "NameConflict")
    assert api.get("Certificate", namespace, "iris-predictor") is None

    api.delete("Secret", namespace, SECRET)
    asked_for(api, namespace)


def test_a_cert_manager_that_goes_is_told(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, cert_manager: None
) -> None:
    api.create(namespace, inference_service(**ISSUED))
    asked_for(api, namespace)

    cluster.kubectl("delete", "crd", "certificates.cert-manager.io", "--timeout=100s")

    told(api, namespace, "CertificatesNotServed")
    eventually(lambda: 200 == operator.probe("/readyz")[0])
