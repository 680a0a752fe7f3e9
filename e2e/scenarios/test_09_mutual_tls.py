"""Mutual TLS: nobody gets in without a certificate of the authority that the Secret names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.certificates import Authority
from e2e.harness.stage import infer_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.harness.certificates import Pair
    from e2e.harness.release import Release
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def iris(new_stage: Callable[[str], Stage], release: Release) -> Stage:
    """A namespace in which the InferenceService `iris` asks clients for a certificate."""
    stage = new_stage("mutual")
    stage.issue("iris", "iris-tls")
    stage.apply(manifests.secret("client-ca", {"ca.crt": stage.authority.certificate}))
    stage.apply(manifests.config_map("iris", models.iris()))
    tls = {"secretName": "iris-tls", "clientCASecretName": "client-ca", "mode": "mutual"}
    made: dict[str, Any] = manifests.inference_service("iris", "configmap://iris/model.skops")
    made["spec"]["predictor"]["tls"] = tls
    stage.apply(made)
    stage.wait_ready("iris")
    return stage


def test_a_client_with_a_certificate_of_the_authority_gets_an_answer(iris: Stage) -> None:
    status, printed = _ask(iris, iris.authority.client("app"))

    assert (status, "outputs" in printed) == (0, True)


def test_a_client_without_a_certificate_gets_none(iris: Stage) -> None:
    status, printed = _ask(iris, None)

    assert status != 0
    assert "outputs" not in printed


def test_a_client_with_a_certificate_of_another_authority_gets_none(iris: Stage) -> None:
    status, printed = _ask(iris, Authority("somebody else").client("app"))

    assert status != 0
    assert "outputs" not in printed


def test_the_same_holds_for_grpc(iris: Stage) -> None:
    pair = iris.authority.client("app")
    call = ["grpcurl", "-cacert", "/certificates/ca.crt"]
    address = f"iris-predictor.{iris.namespace}.svc:8081"

    _store(iris, pair)
    with_certificate = iris.client(*call, "-cert", "/tmp/client.crt", "-key", "/tmp/client.key", address, "list")
    without = iris.client(*call, "-connect-timeout", "5", address, "list", check=False)

    assert "inference.GRPCInferenceService" in with_certificate.stdout
    assert without.status != 0


def _ask(stage: Stage, pair: Pair | None) -> tuple[int, str]:
    own: list[str] = []
    if pair is not None:
        _store(stage, pair)
        own = ["--cert", "/tmp/client.crt", "--key", "/tmp/client.key"]
    done = stage.client(
        "curl", "--silent", "--show-error", "--max-time", "10", "--cacert", "/certificates/ca.crt", *own,
        "--header", "Content-Type: application/json", "--data", infer_request(),
        f"https://iris-predictor.{stage.namespace}.svc/v2/models/iris/infer",
        check=False,
    )  # fmt: skip  # option and value read as pairs
    return done.status, done.stdout + done.stderr


def _store(stage: Stage, pair: Pair) -> None:
    for name, text in (("client.crt", pair.certificate), ("client.key", pair.key)):
        stage.client("sh", "-c", f"cat > /tmp/{name}", stdin=text)
