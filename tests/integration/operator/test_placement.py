"""Models spread over the pods of a service: the operator decides, real runtimes load, tests play the kubelet's part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from tests.integration.operator.harness import Api, Object, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import pods as pods_of
from tests.integration.operator.node import CONFIG, Node
from tests.integration.operator.test_models import model, ready
from tests.integration.operator.test_several_models import named

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"m{number}" for number in range(9)]


def placement(api: Api, namespace: str) -> dict[str, Any]:
    """As pods are told of it."""
    found = api.get("ConfigMap", namespace, CONFIG) or {}
    told: dict[str, Any] = json.loads(found.get("data", {}).get("placement.json", "{}"))
    return told


def places(api: Api, namespace: str) -> dict[str, set[str]]:
    """Pods by model, also those that are to leave it."""
    models = placement(api, namespace).get("models", {})
    return {name: {*placed.get("pods", []), *placed.get("until", [])} for name, placed in models.items()}


def spread(api: Api, namespace: str, nodes: list[Node], count: int = 9) -> Object:
    """The service, once all models are served and settled in these pods, to which files are brought all the while."""

    def look() -> Object | None:
        for node in nodes:
            node.mount()
        found = api.get("InferenceService", namespace, "iris") or {}
        said = found.get("status", {}).get("modelPlacement", {})
        pods = {one["name"]: one["models"] for one in said.get("pods", [])}
        settled = not any("until" in placed for placed in placement(api, namespace).get("models", {}).values())
        whole = said.get("summary") == f"{count}/{count}" and sum(pods.values()) == count
        return found if whole and settled and {node.pod for node in nodes} == set(pods) else None

    found = eventually(look)
    assert found is not None
    return found


def loaded(node: Node, ip: str) -> set[str]:
    """What a runtime says that it has."""
    declared = httpx.get(f"http://{ip}:8082/status", timeout=30, trust_env=False).json()["declared"]
    return {one["name"] for one in declared if one["state"] == "Ready"}


def test_models_are_spread_over_pods_move_when_one_dies_and_back_when_another_comes(
    api: Api, namespace: str, operator: OperatorProcess, tmp_path: Path, web: str
) -> None:
    del operator
    models = [named(name, f"{web}/m.onnx") for name in NAMES]
    api.create(namespace, inference_service(models=models, minReplicas=3, modelPlacement={"copies": 1}))
    eventually(lambda: len(pods_of(api, namespace)) == 3)
    template = (api.get("Deployment", namespace, "iris-predictor") or {})["spec"]["template"]
    (variable,) = [one for one in template["spec"]["containers"][0]["env"] if one["name"] == "PILLION_POD_NAME"]
    assert "metadata.name" == variable["valueFrom"]["fieldRef"]["fieldPath"]
    ips = [f"127.98.9.{number}" for number in (1, 2, 3, 4)]
    nodes: list[Node] = []
    try:
        for number, ip in enumerate(ips[:3]):
            nodes.append(Node(api, namespace, tmp_path / str(number), ip, number=number, placed=True))

        status = spread(api, namespace, nodes)["status"]

        # By what they take, which is measured and differs a little: not three in each for certain.
        assert all(one["memory"] > 0 for one in status["modelPlacement"]["pods"])
        assert ["1/1"] * 9 == [one["replicas"]["summary"] for one in status["models"]]
        before = places(api, namespace)
        has = [loaded(node, ip) for node, ip in zip(nodes, ips, strict=False)]
        assert all(has)
        assert [one["models"] for one in status["modelPlacement"]["pods"]] == [
            len(one) for _, one in sorted(zip([node.pod for node in nodes], has, strict=True))
        ]
        assert set(NAMES) == set().union(*has)
        assert [200] * 27 == [node.predict(name) for node in nodes for name in NAMES]

        gone = nodes.pop()
        gone.end()
        api.delete("Pod", namespace, gone.pod)
        spread(api, namespace, nodes)

        after = places(api, namespace)
        lost = {name for name, pods in before.items() if pods == {gone.pod}}
        assert lost == {name for name in NAMES if after[name] != before[name]}
        assert [200] * 18 == [node.predict(name) for node in nodes for name in NAMES]

        fresh = eventually(lambda: [pod for pod in pods_of(api, namespace) if not pod["status"].get("podIP")])
        names = sorted(pod["metadata"]["name"] for pod in pods_of(api, namespace))
        number = names.index(fresh[0]["metadata"]["name"])
        nodes.append(Node(api, namespace, tmp_path / "3", ips[3], number=number, placed=True))
        status = spread(api, namespace, nodes)["status"]

        assert all(one["models"] for one in status["modelPlacement"]["pods"])
        moved = {name for name, pods in places(api, namespace).items() if pods != after[name]}
        assert moved == loaded(nodes[-1], ips[3])
        assert [200] * 27 == [node.predict(name) for node in nodes for name in NAMES]

        _budget(api, namespace, nodes, web)
    finally:
        for node in nodes:
            node.end()
    assert template == (api.get("Deployment", namespace, "iris-predictor") or {})["spec"]["template"]


def _budget(api: Api, namespace: str, nodes: list[Node], web: str) -> None:
    """What is served stays below any budget, and what comes has no room, which is said with figures."""
    held = places(api, namespace)
    patch = {"spec": {"predictor": {"modelPlacement": {"memory": "1"}}}}
    api.patch("InferenceService", namespace, "iris", patch)
    api.create(namespace, model("tenth", storageUri=f"{web}/m.onnx"))

    found = ready(api, namespace, "tenth", "ModelDoesNotFit")

    message = condition(found, "Ready")["message"]
    assert "the emptiest of 3 pods has 0.0 MiB left of modelPlacement.memory" in message
    assert "raise modelPlacement.memory or minReplicas" in message
    assert held == {name: pods for name, pods in places(api, namespace).items() if name != "tenth"}
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"modelPlacement": {"memory": "1Gi"}}}})
    spread(api, namespace, nodes, 10)
    served = ready(api, namespace, "tenth", "Served", "True")["status"]
    assert "1/1" == served["replicas"]["summary"]
    assert [200] * 3 == [node.predict("tenth") for node in nodes]
