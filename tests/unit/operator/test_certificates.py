"""What makes the certificate of a service, and what stands in its way."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pillion.resources import BatchPrediction, InferenceService
from pillion.resources.conventions import serving_secret
from pillion_operator.builders.batch import batch_job
from pillion_operator.builders.certificates import with_certificate
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.tls import certificate_names
from pillion_operator.judge.certificates import unready_certificate
from pillion_operator.state.certificates import KeptCertificate
from pillion_operator.state.kinds import CERTIFICATE
from pillion_operator.state.observed import CertificateFacts
from pillion_operator.state.plan import Desired, Problem
from pillion_operator.state.policies import NamespaceRules
from pillion_operator.state.reasons import Reason
from tests.unit.operator.test_builders import SETTINGS, builtin, child, pod, service

DOMAIN = "cluster.local"
SELF_SIGNED: dict[str, Any] = {"sklearn": {"storageUri": "s3://models/iris"}, "tls": {"selfSigned": True}}
ISSUED: dict[str, Any] = SELF_SIGNED | {"tls": {"certManager": {"issuerRef": {"name": "ours"}, "duration": "720h"}}}
KEPT = KeptCertificate(60, bundle="the CAs\n")


def stored(given: InferenceService) -> dict[str, Any]:
    found: dict[str, Any] = given.to_api()
    found["metadata"]["uid"] = "uid-1"
    return found


def certified(
    predictor: dict[str, Any],
    *,
    kept: KeptCertificate | None = None,
    secrets: tuple[CertificateFacts, ...] = (),
    served: bool = True,
    away: bool = False,
) -> Desired:
    given = service(**predictor)
    desired = plan(given, "uid-1", builtin(), StorageCredentials(), SETTINGS)
    kinds = frozenset({CERTIFICATE} if served else ())
    silent = frozenset({CERTIFICATE} if away else ())
    return with_certificate(given, stored(given), desired, kept, secrets, kinds, DOMAIN, silent)


def kinds_of(desired: Desired) -> list[str]:
    return [one.kind.name for one in desired.children]


@pytest.mark.parametrize(
    ("secret", "tls"),
    [
        ("", {}),
        ("", {"selfSigned": False}),
        ("mine", {"secretName": "mine", "selfSigned": False}),
        ("iris-predictor-tls", {"selfSigned": True}),
        ("iris-predictor-certificate", {"certManager": {"issuerRef": {"name": "ours"}}}),
    ],
)
def test_the_secret_that_a_service_serves_with(secret: str, tls: dict[str, Any]) -> None:
    assert secret == serving_secret("iris", tls)


def test_clients_are_told_of_the_ca_before_the_pods_are_made() -> None:
    desired = certified(SELF_SIGNED, kept=KEPT)

    told = desired.children[0].manifest
    assert ("ConfigMap", "iris-predictor-ca", {"ca.crt": "the CAs\n"}) == (
        told["kind"],
        told["metadata"]["name"],  # type: ignore[index,call-overload]  # a manifest is JSON
        told["data"],
    )
    assert "https://iris-predictor.ns.svc.cluster.local" == desired.endpoints.url
    assert 443 == child(desired, "Service")["spec"]["ports"][0]["port"]


@pytest.mark.parametrize(
    ("predictor", "secret"), [(SELF_SIGNED, "iris-predictor-tls"), (ISSUED, "iris-predictor-certificate")]
)
def test_pods_get_the_pair_and_not_what_else_is_in_the_secret(predictor: dict[str, Any], secret: str) -> None:
    volume = next(one for one in pod(certified(predictor, kept=None))["volumes"] if one["name"] == "tls")

    assert {
        "secretName": secret,
        "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}],
    } == volume["secret"]


def test_what_keeps_the_operator_from_making_a_certificate_keeps_pods_from_being_made() -> None:
    problem = Problem(Reason.NAME_CONFLICT, "taken")
    desired = certified(SELF_SIGNED, kept=KeptCertificate(10, problem=problem))

    assert (problem, ()) == (desired.problem, desired.children)


def test_a_certificate_of_cert_manager_is_for_every_name_of_the_service() -> None:
    spec = child(certified(ISSUED), "Certificate")["spec"]

    assert "iris-predictor-certificate" == spec["secretName"]
    assert {"name": "ours"} == spec["issuerRef"]
    assert "720h" == spec["duration"]
    names = ["iris-predictor", "iris-predictor.ns", "iris-predictor.ns.svc", "iris-predictor.ns.svc.cluster.local"]
    assert [*names, "localhost"] == spec["dnsNames"]
    assert ["127.0.0.1", "::1"] == spec["ipAddresses"]


def test_a_cluster_without_cert_manager_is_told_with_what_to_install() -> None:
    desired = certified(ISSUED, served=False)

    assert desired.problem is not None
    assert Reason.CERTIFICATES_NOT_SERVED == desired.problem.reason
    assert "install cert-manager" in desired.problem.sentence


def test_a_cert_manager_that_does_not_answer_is_not_told_to_be_installed() -> None:
    desired = certified(ISSUED, served=False, away=True)

    assert desired.problem is not None
    assert Reason.KIND_UNAVAILABLE == desired.problem.reason
    assert desired.problem.transient
    assert "what serves them does not answer" in desired.problem.sentence
    # Of a kind that answers again, a Certificate is made, whoever remembers that it did not.
    assert "Certificate" in kinds_of(certified(ISSUED, away=True))


@pytest.mark.parametrize(
    ("problem", "made_for"), [(None, "iris-predictor"), (Reason.NAME_CONFLICT, "other"), (Reason.NAME_CONFLICT, "")]
)
def test_pods_go_on_with_the_secret_that_cert_manager_made_before_it_went_silent(
    problem: str | None, made_for: str
) -> None:
    facts = CertificateFacts("iris-predictor-certificate", found=True, certificate=made_for)
    desired = certified(ISSUED, secrets=(facts,), served=False, away=True)

    assert problem == (desired.problem and desired.problem.reason)
    assert ("Deployment" in kinds_of(desired)) is (problem is None)
    assert "Certificate" not in kinds_of(desired)


@pytest.mark.parametrize(
    ("problem", "made_for"), [("", "iris-predictor"), (Reason.NAME_CONFLICT, "other"), (Reason.NAME_CONFLICT, "")]
)
def test_cert_manager_is_given_no_secret_of_somebody_else(problem: str, made_for: str) -> None:
    facts = CertificateFacts("iris-predictor-certificate", found=True, certificate=made_for)
    desired = certified(ISSUED, secrets=(facts,))

    assert problem == ("" if desired.problem is None else desired.problem.reason)
    assert ("Certificate" in kinds_of(desired)) == (not problem)


def test_a_container_that_is_not_ours_gets_no_certificate() -> None:
    containers = [{"name": "kserve-container", "image": "a:1"}]
    desired = certified({"containers": containers, "tls": ISSUED["tls"]})

    assert "Certificate" not in kinds_of(desired)


def test_hosts_whose_tls_a_gateway_hands_on_are_names_of_the_certificate() -> None:
    manifest = stored(service(**SELF_SIGNED))
    manifest["spec"]["networking"] = {
        "gateway": {"name": "edge"},
        "hosts": ["{{.Name}}.example.com"],
        "grpcHosts": ["grpc.example.com"],
        "tls": {"mode": "Passthrough"},
    }
    through = certificate_names(InferenceService.from_api(manifest), manifest, DOMAIN)
    assert {"iris.example.com", "grpc.example.com"} < set(through)

    manifest["spec"]["networking"]["tls"] = {"mode": "Terminate"}
    ended = certificate_names(InferenceService.from_api(manifest), manifest, DOMAIN)
    assert not {"iris.example.com", "grpc.example.com"} & set(ended)


@pytest.mark.parametrize(
    ("said", "conditions"),
    [
        ("cert-manager has said nothing of it yet", []),
        ("the order failed", [{"type": "Ready", "status": "False", "message": "the order failed"}]),
        ("", [{"type": "Ready", "status": "True", "message": "up to date"}]),
    ],
)
def test_a_certificate_that_is_not_ready_has_cert_managers_words(said: str, conditions: list[Any]) -> None:
    problem = unready_certificate({"metadata": {"name": "iris-predictor"}, "status": {"conditions": conditions}})

    assert said in ("" if problem is None else problem.text)
    assert bool(said) == (problem is not None)


@pytest.mark.parametrize(
    ("secret", "tls"),
    [("iris-predictor-tls", SELF_SIGNED["tls"]), ("iris-predictor-certificate", ISSUED["tls"])],
)
def test_a_batch_prediction_believes_the_ca_of_the_service_that_it_asks(secret: str, tls: dict[str, Any]) -> None:
    batch = BatchPrediction.from_api(
        yaml.safe_load("""
            apiVersion: serving.pillion.dev/v1beta1
            kind: BatchPrediction
            metadata: {name: flowers, namespace: ns}
            spec:
              inferenceService: iris
              input: {uri: "s3://data/flowers.csv"}
              output: {uri: "s3://data/out"}
        """)
    )
    asked = stored(service(**SELF_SIGNED | {"tls": tls}))
    job: dict[str, Any] = batch_job(batch, "uid-2", asked, NamespaceRules(), StorageCredentials(), SETTINGS)

    volumes = {one["name"]: one for one in job["spec"]["template"]["spec"]["volumes"]}
    assert secret == volumes["pillion-service-ca"]["secret"]["secretName"]
    assert "https://iris-predictor.ns.svc.cluster.local" in str(job)
