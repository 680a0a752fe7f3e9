"""The NetworkPolicy as a child: made where it is asked for, repaired, taken away. No plugin enforces it here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane

SKLEARN = {"storageUri": "s3://models/iris"}
CALLERS = {"podSelector": {"matchLabels": {"app": "web"}}}
MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def policy(api: Api, namespace: str) -> dict[str, Any] | None:
    return api.get("NetworkPolicy", namespace, "iris-predictor")


def create(api: Api, namespace: str, network_policy: dict[str, Any]) -> dict[str, Any]:
    predictor: dict[str, Any] = {"networkPolicy": network_policy, "sklearn": SKLEARN}
    api.create(namespace, inference_service(**predictor))
    found = eventually(lambda: policy(api, namespace))
    assert found is not None
    return found


def test_the_policy_says_who_may_ask_and_who_may_read_metrics(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    spec = create(api, namespace, {"from": [CALLERS], "adminFrom": [MONITORING]})["spec"]

    opened = [(rule["from"], [port["port"] for port in rule["ports"]]) for rule in spec["ingress"]]
    assert [([CALLERS], [8080, 8081]), ([MONITORING], [8082])] == opened
    assert ["Ingress"] == spec["policyTypes"]


def test_nothing_is_made_unasked(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, inference_service())

    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready"))
    assert policy(api, namespace) is None


def test_a_policy_that_lets_nobody_in_settles(operator: OperatorProcess, api: Api, namespace: str) -> None:
    made = create(api, namespace, {"from": [], "adminFrom": [], "egress": []})
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready"))

    api.patch("InferenceService", namespace, "iris", {"metadata": {"labels": {"look": "again"}}})
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"labels": {"team": "a"}}}})

    def rolled() -> bool:
        deployment = api.get("Deployment", namespace, "iris-predictor")
        assert deployment is not None
        return "team" in deployment["spec"]["template"]["metadata"]["labels"]

    eventually(rolled)
    found = policy(api, namespace)
    assert found is not None
    assert "ingress" not in found["spec"]
    assert ["Ingress", "Egress"] == found["spec"]["policyTypes"]
    assert made["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


def test_an_opened_policy_is_closed_again_and_a_deleted_one_comes_back(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    made = create(api, namespace, {"from": [CALLERS]})
    opened = '{"spec": {"ingress": [{}], "policyTypes": ["Ingress", "Egress"], "egress": []}}'

    cluster.kubectl("patch", "networkpolicy", "iris-predictor", "-n", namespace, "--type=merge", "-p", opened)
    eventually(lambda: (policy(api, namespace) or {}).get("spec") == made["spec"])
    api.delete("NetworkPolicy", namespace, "iris-predictor")
    eventually(lambda: (policy(api, namespace) or made)["metadata"]["uid"] != made["metadata"]["uid"])


def test_a_policy_that_is_not_asked_for_any_more_goes(operator: OperatorProcess, api: Api, namespace: str) -> None:
    create(api, namespace, {})

    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"networkPolicy": None}}})

    eventually(lambda: policy(api, namespace) is None)


def test_a_peer_that_is_none_is_told_with_the_servers_words(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    wrong: dict[str, Any] = {"networkPolicy": {"from": [{"podselector": {}}]}, "sklearn": SKLEARN}
    api.create(namespace, inference_service(**wrong))

    def refused() -> dict[str, Any] | None:
        found = condition(api.get("InferenceService", namespace, "iris"), "Stalled")
        return found if found.get("reason") == "Refused" else None

    found = eventually(refused)
    assert found is not None
    assert "NetworkPolicy 'iris-predictor'" in found["message"]
    assert "podselector" in found["message"]
