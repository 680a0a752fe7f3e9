"""The newest revision beside the last good one, by numbers of pods. The tests play the kubelet."""

from __future__ import annotations

from typing import Any

from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually
from tests.integration.operator.kubelet import make_ready, pods
from tests.integration.operator.test_rolling_back import PATIENCE, change, crash, names, ready, states
from tests.integration.operator.test_rolling_back import rolled_out as rolled_out_in_haste

CANARY = "iris-predictor-canary"


def rolled_out(api: Api, namespace: str, **predictor: Any) -> None:
    """A service whose newest revision has its time: a busy machine may not make a pod within seconds."""
    rolled_out_in_haste(api, namespace, **{"rollout": PATIENCE, **predictor})


def canary(api: Api, namespace: str) -> dict[str, Any]:
    service = api.get("InferenceService", namespace, "iris")
    assert service is not None
    found: dict[str, Any] = service["status"].get("canary", {})
    return found


def shared(api: Api, namespace: str, actual: int) -> dict[str, Any]:
    """Wait until the newest revision has that share of the pods."""

    def look() -> dict[str, Any] | None:
        make_ready(api, namespace)
        found = canary(api, namespace)
        return found if found.get("actual") == actual else None

    found = eventually(look)
    assert found is not None
    return found


def counts(api: Api, namespace: str) -> tuple[int, int]:
    """Pods wanted of the last good revision and of the newest."""
    stable, newest = (api.get("Deployment", namespace, name) for name in ("iris-predictor", CANARY))
    return stable["spec"]["replicas"] if stable else -1, newest["spec"]["replicas"] if newest else 0


def version(api: Api, namespace: str) -> str:
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    found: str = deployment["metadata"]["resourceVersion"]
    return found


def test_the_newest_revision_gets_its_share_and_the_last_good_one_keeps_its_pods(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    rolled_out(api, namespace, minReplicas=3)
    old, since = names(api, namespace), version(api, namespace)

    change(api, namespace, timeout=7, canaryTrafficPercent=25)

    found = shared(api, namespace, 25)
    assert {"requested": 25, "actual": 25, "mechanism": "replicas: 1 of 4 pods"} == found
    eventually(lambda: counts(api, namespace) == (3, 1))
    assert old < names(api, namespace)
    history = api.history("Deployment", namespace, since)
    served = [one["spec"]["template"] for one in history if one["metadata"]["name"] == "iris-predictor"]
    assert all(template == served[0] for template in served)
    # Each has its own configuration.
    configs = [api.get("ConfigMap", namespace, f"{name}-runtime") for name in ("iris-predictor", CANARY)]
    texts = [config["data"]["runtime.yaml"] for config in configs if config]
    assert [False, True] == ["deadline_seconds" in text for text in texts]
    # Both stand behind the one Service.
    service = api.get("Service", namespace, "iris-predictor")
    assert service is not None
    selector = service["spec"]["selector"].items()
    assert 4 == len([pod for pod in pods(api, namespace) if selector <= pod["metadata"]["labels"].items()])
    ready(api, namespace, "Loaded")

    def progressing() -> tuple[str, str]:
        found = condition(api.get("InferenceService", namespace, "iris"), "Progressing")
        return found["status"], found["reason"]

    eventually(lambda: progressing() == ("False", "Shared"))
    assert {1: "RolledOut"} == states(api, namespace)


def test_a_share_that_the_pods_are_too_few_for_says_how_many_it_needs(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    rolled_out(api, namespace)

    change(api, namespace, timeout=7, canaryTrafficPercent=10)

    found = shared(api, namespace, 50)
    assert 10 == found["requested"]
    needs = "10 % exactly needs a multiple of 10 pods, by minReplicas 9 or a multiple of it"
    assert f"replicas: 1 of 2 pods; {needs}" == found["mechanism"]


def test_promoting_loses_no_pod_on_the_way(operator: OperatorProcess, api: Api, namespace: str) -> None:
    rolled_out(api, namespace, minReplicas=2)
    change(api, namespace, timeout=7, canaryTrafficPercent=50)
    shared(api, namespace, 50)
    since = version(api, namespace)
    old = names(api, namespace)

    change(api, namespace, canaryTrafficPercent=None)
    # The one that had the share stays until those that take over are there.
    eventually(lambda: names(api, namespace) - old)
    assert (2, 2) == counts(api, namespace)
    eventually(lambda: make_ready(api, namespace) and api.get("Deployment", namespace, CANARY) is None)

    eventually(lambda: states(api, namespace) == {1: "RolledOut", 2: "RolledOut"})
    eventually(lambda: "canary" not in (api.get("InferenceService", namespace, "iris") or {})["status"])
    history = api.history("Deployment", namespace, since)
    stable = [one["status"].get("availableReplicas", 0) for one in history if one["metadata"]["name"] != CANARY]
    assert min(stable) >= 2
    eventually(lambda: api.get("ConfigMap", namespace, f"{CANARY}-runtime") is None)


def test_zero_percent_takes_the_newest_revision_away(operator: OperatorProcess, api: Api, namespace: str) -> None:
    rolled_out(api, namespace, minReplicas=2)
    old = names(api, namespace)
    change(api, namespace, timeout=7, canaryTrafficPercent=50)
    shared(api, namespace, 50)

    change(api, namespace, canaryTrafficPercent=0)

    eventually(lambda: api.get("Deployment", namespace, CANARY) is None)
    eventually(lambda: names(api, namespace) == old)
    eventually(lambda: [canary(api, namespace).get(share) for share in ("requested", "actual")] == [0, 0])
    ready(api, namespace, "Loaded")


def test_more_than_half_takes_pods_from_the_last_good_one_only_when_the_others_are_there(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    rolled_out(api, namespace, minReplicas=4)
    change(api, namespace, timeout=7, canaryTrafficPercent=80)
    eventually(lambda: counts(api, namespace) == (4, 4))

    shared(api, namespace, 80)
    eventually(lambda: counts(api, namespace) == (1, 4))

    # On the way back one goes for each of the others that is there again.
    change(api, namespace, canaryTrafficPercent=0)
    eventually(lambda: counts(api, namespace) == (4, 3))
    stays = "3 pods beside it stay until 4 of the last good revision are available (now 1)"
    eventually(lambda: stays in canary(api, namespace).get("mechanism", ""))
    eventually(lambda: make_ready(api, namespace) and api.get("Deployment", namespace, CANARY) is None)
    assert 4 == counts(api, namespace)[0]


def most_of_them(api: Api, namespace: str) -> str:
    """A service of four pods whose newest revision has 80 %: one pod of the last good one is left."""
    rolled_out(api, namespace, minReplicas=4)
    change(api, namespace, timeout=7, canaryTrafficPercent=80)
    shared(api, namespace, 80)
    eventually(lambda: counts(api, namespace) == (1, 4))
    eventually(lambda: 5 == len(names(api, namespace)))
    return version(api, namespace)


def never_fewer_than_four(api: Api, namespace: str, since: str) -> None:
    """What both Deployments had available together, at each of their changes."""
    available = {"iris-predictor": 1, CANARY: 4}
    history = api.history("Deployment", namespace, since)
    last = max(number for number, one in enumerate(history) if one["metadata"]["name"] == CANARY)
    for number, one in enumerate(history):
        # Those that are one too many go at once, and the others with the Deployment.
        goes = number == last and api.get("Deployment", namespace, CANARY) is None
        stays = 0 if goes else one["spec"]["replicas"]
        available[one["metadata"]["name"]] = min(stays, one["status"].get("availableReplicas", 0))
        assert sum(available.values()) >= 4, (available, one)


def test_a_manifest_that_goes_back_takes_no_pod_before_another_is_there(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    since = most_of_them(api, namespace)

    change(api, namespace, timeout=None, canaryTrafficPercent=None)

    eventually(lambda: counts(api, namespace) == (4, 3))
    eventually(lambda: make_ready(api, namespace) and api.get("Deployment", namespace, CANARY) is None)
    eventually(lambda: "canary" not in (api.get("InferenceService", namespace, "iris") or {})["status"])
    never_fewer_than_four(api, namespace, since)


def test_another_change_begins_once_the_last_good_revision_has_its_pods_back(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    since = most_of_them(api, namespace)
    before = api.get("Deployment", namespace, CANARY)
    assert before is not None

    change(api, namespace, timeout=8, canaryTrafficPercent=20)

    eventually(lambda: counts(api, namespace) == (4, 3))
    # Those that stand in are what they were: the newest begins with the share that it is to have.
    now = api.get("Deployment", namespace, CANARY)
    assert now is not None
    assert before["spec"]["template"] == now["spec"]["template"]
    shared(api, namespace, 20)
    eventually(lambda: counts(api, namespace) == (4, 1))
    never_fewer_than_four(api, namespace, since)


def test_a_newest_revision_that_never_becomes_ready_loses_its_share(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    rolled_out_in_haste(api, namespace, minReplicas=2)
    old = names(api, namespace)
    change(api, namespace, timeout=7, canaryTrafficPercent=20)
    eventually(lambda: crash(api, namespace, old))

    found = ready(api, namespace, "RolledBack")

    assert "no such column: petal" in found["message"]
    eventually(lambda: api.get("Deployment", namespace, CANARY) is None and names(api, namespace) == old)
    eventually(lambda: {1: "RolledOut", 2: "Failed"} == states(api, namespace))


def test_versions_that_listen_differently_share_no_address(operator: OperatorProcess, api: Api, namespace: str) -> None:
    rolled_out(api, namespace)
    old = names(api, namespace)

    change(api, namespace, tls={"secretName": "certificate"}, canaryTrafficPercent=50)

    def named() -> str:
        found: str = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured").get("message", "")
        return found

    eventually(lambda: "spec.predictor.canaryTrafficPercent (the newest version listens" in named())
    assert old == names(api, namespace)
