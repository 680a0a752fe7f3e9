"""An operator that looks after the namespaces with a label: those that get it, have it, and lose it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion_operator.rbac import manifests
from tests.integration.operator.harness import (
    Api,
    OperatorProcess,
    apply,
    eventually,
    inference_service,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane

_OWN = "pillion-selected"


@pytest.fixture(scope="module")
def selective(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator with exactly the rights that the chart grants for this scope."""
    cluster.kubectl("create", "namespace", _OWN)
    cluster.kubectl("create", "serviceaccount", "pillion-operator", "--namespace", _OWN)
    apply(cluster, *manifests(service_account="pillion-operator", operator_namespace=_OWN, name=_OWN, selected=True))
    kubeconfig = cluster.kubeconfig_for_service_account(_OWN, "pillion-operator")
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    settings = {"namespace_selector": "tenant in (shop,bank)", "builtin_runtimes": "false"}
    with running(kubeconfig, log, lease_namespace=_OWN, **settings) as process:
        yield process.wait_leading()


def deployed(api: Api, namespace: str) -> bool:
    return api.get("Deployment", namespace, "iris-predictor") is not None


def own(image: str = "example.com/own:1") -> dict[str, object]:
    return inference_service(containers=[{"name": "own", "image": image}])


def image(api: Api, namespace: str) -> str:
    found = api.get("Deployment", namespace, "iris-predictor")
    assert found is not None
    text: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
    return text


def test_services_are_looked_after_where_the_namespace_has_the_label_and_nowhere_else(
    cluster: ControlPlane, selective: OperatorProcess, api: Api, namespace: str
) -> None:
    labelled = f"{namespace}-shop"
    cluster.kubectl("create", "namespace", labelled)
    cluster.kubectl("label", "namespace", labelled, "tenant=shop")
    api.create(namespace, own())
    api.create(labelled, own())

    eventually(lambda: deployed(api, labelled))

    selective.at_rest()
    assert not deployed(api, namespace)
    found = api.get("InferenceService", namespace, "iris")
    assert found is not None
    assert -1 == found.get("status", {}).get("observedGeneration", -1)


def test_a_namespace_that_gets_the_label_is_taken_up_with_what_it_has(
    cluster: ControlPlane, selective: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, own())
    selective.at_rest()

    cluster.kubectl("label", "namespace", namespace, "tenant=bank")

    eventually(lambda: deployed(api, namespace))
    assert f"namespace {namespace} is looked after now" in selective.log()


def test_a_namespace_that_loses_the_label_stays_as_it_is_until_it_has_it_again(
    cluster: ControlPlane, selective: OperatorProcess, api: Api, namespace: str
) -> None:
    cluster.kubectl("label", "namespace", namespace, "tenant=shop")
    api.create(namespace, own())
    eventually(lambda: deployed(api, namespace))
    selective.at_rest()

    cluster.kubectl("label", "namespace", namespace, "tenant-")
    selective.wait_logged(f"namespace {namespace} is not looked after any more")
    apply(cluster, {**own("example.com/own:2"), "metadata": {"name": "iris", "namespace": namespace}})
    selective.at_rest()
    assert "example.com/own:1" == image(api, namespace)

    cluster.kubectl("label", "namespace", namespace, "tenant=shop")
    eventually(lambda: image(api, namespace) == "example.com/own:2")
