"""The transformer and the explainer of a service: they come, are led to once they serve, and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.integration.operator.harness import Api, Object, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import make_ready

if TYPE_CHECKING:
    from collections.abc import Callable

OWN: dict[str, Any] = {"containers": [{"name": "kserve-container", "image": "registry.example/words:1"}]}
SELECTOR = "serving.pillion.dev/inferenceservice=iris,serving.pillion.dev/component={}"


def status(api: Api, namespace: str) -> Object:
    found: Object = (api.get("InferenceService", namespace, "iris") or {}).get("status", {})
    return found


def until(api: Api, namespace: str, kind: str, reason: str) -> Object:
    """The condition, once it has that reason."""

    def look() -> Object | None:
        found = condition(api.get("InferenceService", namespace, "iris"), kind)
        return found if found.get("reason") == reason else None

    found = eventually(look)
    assert found is not None
    return found


def run(api: Api, namespace: str, component: str, pods: int = 1) -> None:
    """Make the pods of a component Ready, once there are so many."""

    def look() -> bool:
        listed = api.list("Pod", namespace, labelSelector=SELECTOR.format(component))
        return make_ready(api, namespace, listed) == pods

    eventually(look)


def way_in(api: Api, namespace: str) -> dict[str, str]:
    """The Services that the Ingress leads to, by the path."""
    route = api.get("Ingress", namespace, "iris-predictor")
    paths = [] if route is None else route["spec"]["rules"][0]["http"]["paths"]
    return {one["path"]: one["backend"]["service"]["name"] for one in paths}


def gone(api: Api, namespace: str, name: str) -> Callable[[], bool]:
    kinds = ("Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler")
    return lambda: all(api.get(kind, namespace, name) is None for kind in kinds)


def test_a_transformer_takes_the_way_in_once_it_serves_and_gives_it_back(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    manifest = inference_service()
    manifest["spec"] |= {"networking": {"hosts": ["iris.example.com"]}, "explainer": OWN}
    explained = {"/v1/models/iris:explain": "iris-explainer"}
    api.create(namespace, manifest)
    run(api, namespace, "predictor")
    until(api, namespace, "PredictorReady", "Ready")
    before = api.get("Deployment", namespace, "iris-predictor")
    assert before is not None

    transformer = {**OWN, "minReplicas": 2, "maxReplicas": 3}
    api.patch("InferenceService", namespace, "iris", {"spec": {"transformer": transformer}})

    eventually(lambda: "The transformer: 0 of" in until(api, namespace, "TransformerReady", "Starting")["message"])
    eventually(lambda: {"/": "iris-predictor"} | explained == way_in(api, namespace))
    assert status(api, namespace)["url"].startswith("http://iris-predictor.")
    run(api, namespace, "transformer", 2)
    until(api, namespace, "TransformerReady", "Ready")
    eventually(lambda: way_in(api, namespace) == {"/": "iris-transformer"} | explained)
    eventually(lambda: status(api, namespace)["address"]["url"].startswith("http://iris-transformer."))
    eventually(lambda: {"predictor", "transformer", "explainer"} == status(api, namespace)["components"].keys())
    eventually(lambda: status(api, namespace)["components"]["transformer"].get("latestReadyRevision"))
    # What scales and guards it is its own, and the predictor has not been touched.
    for kind in ("PodDisruptionBudget", "HorizontalPodAutoscaler"):
        eventually(lambda kind=kind: api.get(kind, namespace, "iris-transformer"))  # type: ignore[misc]  # a default binds the value
    after = api.get("Deployment", namespace, "iris-predictor")
    assert after is not None
    assert before["metadata"]["generation"] == after["metadata"]["generation"]

    api.patch("InferenceService", namespace, "iris", {"spec": {"transformer": None}})

    eventually(gone(api, namespace, "iris-transformer"))
    eventually(lambda: "TransformerReady" not in {one["type"] for one in status(api, namespace)["conditions"]})
    eventually(lambda: {"/": "iris-predictor"} | explained == way_in(api, namespace))
    eventually(lambda: {"predictor", "explainer"} == status(api, namespace)["components"].keys())


def test_a_service_is_ready_with_both_of_its_components(operator: OperatorProcess, api: Api, namespace: str) -> None:
    manifest = inference_service()
    # What a container lacks is told by the API server, by its own condition.
    manifest["spec"] |= {"transformer": OWN, "explainer": {"containers": [{"name": "kserve-container"}]}}
    api.create(namespace, manifest)
    for component in ("predictor", "transformer"):
        run(api, namespace, component)

    eventually(lambda: "iris-explainer" in until(api, namespace, "ExplainerReady", "Refused")["message"])
    until(api, namespace, "TransformerReady", "Ready")
    until(api, namespace, "PredictorReady", "Ready")
    until(api, namespace, "Stalled", "Refused")
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready")["status"] == "False")

    api.patch("InferenceService", namespace, "iris", {"spec": {"explainer": OWN}})
    run(api, namespace, "explainer")

    until(api, namespace, "ExplainerReady", "Ready")
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready")["status"] == "True")
    deployment = api.get("Deployment", namespace, "iris-explainer")
    assert deployment is not None
    told = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"iris-predictor.{namespace}" == told[told.index("--predictor_host") + 1]


def test_a_stopped_service_has_no_pod_of_any_component(operator: OperatorProcess, api: Api, namespace: str) -> None:
    manifest = inference_service()
    manifest["spec"]["transformer"] = OWN
    api.create(namespace, manifest)
    for component in ("predictor", "transformer"):
        run(api, namespace, component)
    until(api, namespace, "TransformerReady", "Ready")

    stop = {"metadata": {"annotations": {"serving.pillion.dev/stop": "true"}}}
    api.patch("InferenceService", namespace, "iris", stop)

    eventually(lambda: api.list("Pod", namespace, labelSelector=SELECTOR.format("transformer")) == [])
    assert "True" == until(api, namespace, "Stopped", "Stopped")["status"]
    eventually(lambda: (api.get("Deployment", namespace, "iris-transformer") or {})["spec"]["replicas"] == 0)
