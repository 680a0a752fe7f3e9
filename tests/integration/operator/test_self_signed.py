"""`tls.selfSigned`: the operator keeps a CA and a certificate for a service, and touches no Secret of others."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from pillion_operator.rbac import manifests, self_signed_rules
from tests.integration.operator.certified import NAMES, aged, encoded, shake_hands, texts
from tests.integration.operator.harness import (
    Api,
    Object,
    OperatorProcess,
    apply,
    condition,
    eventually,
    inference_service,
    running,
)
from tests.integration.operator.kubelet import make_ready
from tests.integration.operator.test_rolling_back import HASTE
from tests.integration.server.process import served, write_config
from tests.integration.server.test_tls import Mounted, https
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane
    from pillion_operator.builders.serving_certificate import Material
    from tests.models import IrisModels

SELF_SIGNED: dict[str, Any] = {"sklearn": {"storageUri": "s3://models/iris"}, "tls": {"selfSigned": True}}
SECRET, CA = "iris-predictor-tls", "iris-predictor-ca"


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator whose clients learn of a new CA within two seconds."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    settings = {"lease_namespace": "pillion-system", "self_signed": "true", "self_signed_settle_seconds": "2"}
    with running(operator_kubeconfig, log, **settings) as process:
        yield process.wait_leading()


def bundle_of(config: Object | None) -> list[str]:
    """The CAs that clients are told of, the newest first."""
    end = "-----END CERTIFICATE-----\n"
    return [f"{part}{end}" for part in (config or {"data": {}})["data"].get("ca.crt", "").split(end) if part]


def signed_by(certificate: str, authority: str) -> bool:
    try:
        x509.load_pem_x509_certificate(certificate.encode()).verify_directly_issued_by(
            x509.load_pem_x509_certificate(authority.encode())
        )
    except Exception:  # noqa: BLE001 - each way not to be signed has an exception of its own
        return False
    return True


def told(api: Api, namespace: str, reason: str) -> str:
    """The message of PredictorReady, once it has that reason."""

    def look() -> str:
        found = condition(api.get("InferenceService", namespace, "iris"), "PredictorReady")
        return str(found["message"]) if found.get("reason") == reason else ""

    return eventually(look)


def made(api: Api, namespace: str) -> Object:
    secret = eventually(lambda: api.get("Secret", namespace, SECRET))
    assert secret is not None
    return secret


def test_an_operator_that_may_write_no_secrets_says_so_and_what_to_do(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    written = [rule.as_manifest() for rule in self_signed_rules()]
    rights = manifests(service_account="operator", operator_namespace=namespace, namespaces=(namespace,))
    for manifest in rights:
        rules = manifest.get("rules")
        if isinstance(rules, list):
            manifest["rules"] = [rule for rule in rules if rule not in written]
    cluster.kubectl("create", "serviceaccount", "operator", "--namespace", namespace)
    apply(cluster, *rights)
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "operator")
    settings = {"namespaces": namespace, "lease_namespace": namespace}
    with running(kubeconfig, tmp_path / "one.log", **settings) as process:
        process.wait_leading()
        api.create(namespace, inference_service(**SELF_SIGNED))

        said = told(api, namespace, "SelfSignedOff")
        assert "set the chart's certificates.selfSigned to true" in said
    with running(kubeconfig, tmp_path / "two.log", **settings, self_signed="true") as process:
        process.wait_leading()

        assert 'cannot create resource "secrets"' in told(api, namespace, "Forbidden")
    assert api.get("Secret", namespace, SECRET) is None
    assert api.get("Deployment", namespace, "iris-predictor") is None


# From here on the module's operator runs, which looks after every namespace.


def test_clients_with_the_ca_of_the_config_map_trust_the_service_under_all_its_names(
    operator: OperatorProcess, api: Api, namespace: str, tmp_path: Path
) -> None:
    api.create(namespace, inference_service(**SELF_SIGNED))

    secret = made(api, namespace)
    config = eventually(lambda: api.get("ConfigMap", namespace, CA))
    assert config is not None
    found = texts(secret)
    for name in NAMES:
        shake_hands(found["tls.crt"], found["tls.key"], config["data"]["ca.crt"], name.format(namespace), tmp_path)
    assert "kubernetes.io/tls" == secret["type"]
    service = api.get("InferenceService", namespace, "iris")
    assert service is not None
    owners = [secret["metadata"]["ownerReferences"], config["metadata"]["ownerReferences"]]
    assert [[service["metadata"]["uid"]]] * 2 == [[one["uid"] for one in each] for each in owners]


def test_the_url_is_https_and_the_pods_get_the_pair_without_the_cas_key(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service(**SELF_SIGNED))

    def url() -> str:
        return str(((api.get("InferenceService", namespace, "iris") or {}).get("status") or {}).get("url", ""))

    eventually(lambda: url() == f"https://iris-predictor.{namespace}.svc.cluster.local")
    deployment = eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))
    assert deployment is not None
    volume = next(one for one in deployment["spec"]["template"]["spec"]["volumes"] if one["name"] == "tls")["secret"]
    assert SECRET == volume["secretName"]
    assert ["tls.crt", "tls.key"] == [item["key"] for item in volume["items"]]
    service = api.get("Service", namespace, "iris-predictor")
    assert service is not None
    assert 443 == service["spec"]["ports"][0]["port"]


def test_a_secret_that_is_deleted_comes_back_and_the_former_ca_stays_trusted(
    operator: OperatorProcess, api: Api, namespace: str, tmp_path: Path
) -> None:
    api.create(namespace, inference_service(**SELF_SIGNED))
    before = made(api, namespace)
    former = eventually(lambda: bundle_of(api.get("ConfigMap", namespace, CA)))
    since = str(before["metadata"]["resourceVersion"])

    api.delete("Secret", namespace, SECRET)

    def anew() -> bool:
        found = api.get("Secret", namespace, SECRET)
        return found is not None and found["metadata"]["uid"] != before["metadata"]["uid"]

    eventually(anew)
    eventually(lambda: bundle_of(api.get("ConfigMap", namespace, CA))[:1] not in ([], former[:1]))
    history = [bundle_of(config) for config in api.history("ConfigMap", namespace, since) if named(config, CA)]
    new = history[-1][0]
    assert [new, former[0]] in history
    found = texts(api.get("Secret", namespace, SECRET) or {})
    shake_hands(found["tls.crt"], found["tls.key"], new, "iris-predictor", tmp_path)


def named(manifest: Object, name: str) -> bool:
    return bool(manifest["metadata"]["name"] == name)


def test_an_old_ca_gets_a_successor_which_is_trusted_before_it_signs_and_the_old_one_afterwards(
    operator: OperatorProcess, api: Api, namespace: str, tmp_path: Path
) -> None:
    api.create(namespace, inference_service(**SELF_SIGNED))
    secret = made(api, namespace)
    names = tuple(name.format(namespace) for name in NAMES)
    old = aged(names, ca_days=3 * 365, certificate_days=10)

    placed = api.patch("Secret", namespace, SECRET, {"data": encoded(old.as_data())})
    since = str(placed["metadata"]["resourceVersion"])

    def alone() -> bool:
        now = bundle_of(api.get("ConfigMap", namespace, CA))
        return len(now) == 1 and now[0] != old.authorities[0] and not signed_by(texts(secret)["tls.crt"], now[0])

    eventually(alone)
    steps = [one for one in api.history("Secret", namespace, since) if named(one, SECRET)]
    bundles = [one for one in api.history("ConfigMap", namespace, since) if named(one, CA)]
    new = bundle_of(bundles[-1])[0]
    both = [one for one in bundles if bundle_of(one) == [new, old.authorities[0]]]
    by_new = [one for one in steps if signed_by(texts(one)["tls.crt"], new)]
    assert both, "nobody was told of both CAs"
    assert version(both[0]) < version(by_new[0]) < version(bundles[-1]), "it signed before it was trusted"
    assert [old.authorities[0]] != bundle_of(bundles[-1])
    # Who has read both trusts what was served before, and what is served now.
    trusted = both[0]["data"]["ca.crt"]
    shake_hands(old.certificate, old.key, trusted, "iris-predictor", tmp_path)
    now = texts(by_new[-1])
    shake_hands(now["tls.crt"], now["tls.key"], trusted, "iris-predictor", tmp_path)


def version(manifest: Object) -> int:
    return int(manifest["metadata"]["resourceVersion"])


def renewed_by_the_same_ca(api: Api, namespace: str, old: Material) -> None:
    """Wait until another certificate of the old authority is there, and clients are told of that one alone."""

    def renewed() -> bool:
        certificate = texts(api.get("Secret", namespace, SECRET) or {"data": {}})["tls.crt"]
        return certificate != old.certificate and signed_by(certificate, old.authorities[0])

    eventually(renewed)
    eventually(lambda: bundle_of(api.get("ConfigMap", namespace, CA)) == list(old.authorities))


def test_a_worn_certificate_is_renewed_by_the_same_ca(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, inference_service(**SELF_SIGNED))
    made(api, namespace)
    old = aged(tuple(name.format(namespace) for name in NAMES), ca_days=100, certificate_days=70)

    api.patch("Secret", namespace, SECRET, {"data": encoded(old.as_data())})

    renewed_by_the_same_ca(api, namespace, old)


def test_a_certificate_with_which_a_version_serves_that_was_gone_back_to_is_renewed(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service(**SELF_SIGNED, rollout=HASTE))
    made(api, namespace)
    eventually(lambda: make_ready(api, namespace) and api.list("ControllerRevision", namespace))
    # A version without TLS, which never becomes ready.
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"tls": None}}})
    told(api, namespace, "RolledBack")
    old = aged(tuple(name.format(namespace) for name in NAMES), ca_days=100, certificate_days=70)

    api.patch("Secret", namespace, SECRET, {"data": encoded(old.as_data())})

    renewed_by_the_same_ca(api, namespace, old)


async def test_a_running_pod_takes_a_renewed_certificate_up_and_its_clients_go_on_trusting_it(
    operator: OperatorProcess, api: Api, namespace: str, tmp_path: Path, iris: IrisModels
) -> None:
    api.create(namespace, inference_service(**SELF_SIGNED))
    made(api, namespace)
    names = tuple(name.format(namespace) for name in NAMES)
    worn = aged(names, ca_days=100, certificate_days=70)
    mounted = Mounted(tmp_path / "tls")
    mounted.put(tls_crt=worn.certificate, tls_key=worn.key)
    write_config(tmp_path / "runtime.yaml", {"iris": iris.onnx})
    env = {"PILLION_TLS__POLL_SECONDS": "0.1"}
    with served(tmp_path, tmp_path / "runtime.yaml", *mounted.flags(), ready=False, env=env) as server:
        trusting = ssl.create_default_context(cadata=worn.bundle)
        assert (200, serial_of(worn.certificate)) == await https(server, trusting)

        api.patch("Secret", namespace, SECRET, {"data": encoded(worn.as_data())})

        def renewed() -> dict[str, str]:
            found = texts(api.get("Secret", namespace, SECRET) or {})
            return found if found["tls.crt"] != worn.certificate and found["ca.crt"] == worn.bundle else {}

        found = eventually(renewed)
        # As the kubelet does.
        mounted.put(tls_crt=found["tls.crt"], tls_key=found["tls.key"])
        reloaded = 'pillion_tls_reloads_total{result="succeeded"}'
        await until(lambda: server.metric(reloaded) == 1)
        assert (200, serial_of(found["tls.crt"])) == await https(server, trusting)


def serial_of(certificate: str) -> int:
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


def test_a_secret_of_somebody_else_is_not_touched_and_is_named(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"tls.crt": "theirs"}}
    kept = api.create(namespace, theirs)
    api.create(namespace, inference_service(**SELF_SIGNED))

    said = told(api, namespace, "NameConflict")
    assert f"Secret '{SECRET}' exists and does not belong to this InferenceService" in said
    assert "delete or rename that Secret" in said
    assert api.get("Deployment", namespace, "iris-predictor") is None, "pods would serve with somebody else's key"
    now = api.get("Secret", namespace, SECRET)
    assert now is not None
    assert kept["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]

    api.delete("Secret", namespace, SECRET)
    eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))
    assert "ca.key" in made(api, namespace)["data"]


def test_a_ca_that_is_edited_for_clients_is_restored(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, inference_service(**SELF_SIGNED))
    before = eventually(lambda: bundle_of(api.get("ConfigMap", namespace, CA)))

    api.patch("ConfigMap", namespace, CA, {"data": {"ca.crt": "nobody"}}, manager="editor")

    eventually(lambda: bundle_of(api.get("ConfigMap", namespace, CA)) == before)
