"""From a pod to none and back: a real operator and a real activator under the chart's rights, and a real API server."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pillion_operator.rbac import activator_own_rules, activator_rules, manifests
from tests.integration.operator.activating import ActivatorProcess, activating, announce, own_address, serving
from tests.integration.operator.harness import (
    Api,
    OperatorProcess,
    apply,
    audited,
    condition,
    eventually,
    inference_service,
    running,
)
from tests.integration.operator.scaled import autoscaler, change, create, replicas
from tests.integration.operator.test_activator import echo
from tests.integration.operator.test_pod_scaling import CountingPods, counting
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

__all__ = ["counting"]

_SYSTEM = "pillion-system"
_ACTIVATOR = f"{_SYSTEM}/zero"
#: Quiet for that long, a service may rest.
_SECONDS = 3
_BEHAVIOR = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": _SECONDS}}}


@pytest.fixture(scope="module")
def activator(
    api: Api, activator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ActivatorProcess]:
    """One activator under the rights of the chart."""
    log = tmp_path_factory.mktemp("activator") / "activator.log"
    with activating(activator_kubeconfig, log, http_host="0.0.0.0", service=_ACTIVATOR) as process:
        announce(api, _ACTIVATOR, process)
        yield process


@pytest.fixture(scope="module")
def operator(
    cluster: ControlPlane,
    operator_kubeconfig: Path,
    activator: ActivatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """One operator that knows the activator, for every namespace that is not labelled as another's."""
    apply(cluster, *manifests(service_account="pillion-operator", operator_namespace=_SYSTEM, name="z", selected=True))
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    settings = {"activator_service": "zero", "namespace_selector": "!elsewhere", "lease_namespace": _SYSTEM}
    with running(operator_kubeconfig, log, **settings) as process:
        yield process.wait_leading()


def endpoint_slice(api: Api, namespace: str) -> dict[str, Any] | None:
    return api.get("EndpointSlice", namespace, "iris-predictor-activator")


def leads(api: Api, namespace: str) -> list[str]:
    """Where the Service leads besides its pods."""
    found = endpoint_slice(api, namespace) or {}
    return [address for endpoint in found.get("endpoints") or [] for address in endpoint["addresses"]]


def ports(api: Api, namespace: str) -> dict[str, int]:
    return {port["name"]: port["port"] for port in (endpoint_slice(api, namespace) or {}).get("ports", [])}


def up(api: Api, namespace: str, counting: CountingPods) -> None:
    """Wait until there is one pod that is Ready, and whose Service leads nowhere else.

    It has something to do for so long: else it may rest again before anybody has looked.
    """

    def look() -> bool:
        there = counting.ready(api, namespace) == 1 == replicas(api, namespace)
        return there and available(api, namespace) == 1 and not leads(api, namespace)

    with counting.busy():
        eventually(look, pause=0.1)


def asleep(api: Api, namespace: str) -> None:
    eventually(lambda: replicas(api, namespace) == 0, pause=0.1)


def available(api: Api, namespace: str) -> int:
    deployment = api.get("Deployment", namespace, "iris-predictor") or {}
    return deployment.get("status", {}).get("availableReplicas", 0)  # type: ignore[no-any-return]  # JSON


def ready(api: Api, namespace: str, reason: str, status: str = "True") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = api.get("InferenceService", namespace, "iris")
        said = condition(found, "Ready")
        return found if (said.get("status"), said.get("reason")) == (status, reason) else None

    found = eventually(look, pause=0.1)
    assert found is not None
    return found


def test_a_service_that_nobody_asks_gives_its_pod_up_and_the_next_request_is_held_for_a_new_one(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods, activator: ActivatorProcess
) -> None:
    create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
    up(api, namespace, counting)
    given = ports(api, namespace)
    assert {"http", "grpc"} == set(given)
    since = api.get("InferenceService", namespace, "iris")
    assert since is not None

    asleep(api, namespace)

    # The Service led to the activator before the pod was told to go.
    assert [own_address()] == leads(api, namespace)
    before = slices_and_counts(api, namespace, since["metadata"]["resourceVersion"])
    assert before.index("led") < before.index("none")
    found = ready(api, namespace, "ScaledToZero")
    assert "http://iris-predictor" in found["status"]["url"]
    assert 0 == found["status"]["replicas"]["desired"]
    assert "Standby" == found["status"]["modelStatus"]["states"]["activeModelState"]
    assert "ScaledToZero" == condition(found, "ModelLoaded")["reason"]
    assert "ScaledToZero" == condition(found, "ScalingActive")["reason"]
    assert "True" == condition(found, "FieldsHonoured")["status"]

    with serving(echo) as port, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"http://{own_address()}:{given['http']}/", content=b"12345", timeout=WITHIN)
        eventually(lambda: replicas(api, namespace) == 1)
        ready(api, namespace, "Waking")
        assert not answer.done()
        listen(api, namespace, http=port)
        assert "5" == answer.result().text
        up(api, namespace, counting)
    ready(api, namespace, "Loaded")
    # It comes out at the same port as before.
    assert given == ports(api, namespace)


def test_requests_in_progress_keep_the_pod(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
    counting.in_progress = 1
    up(api, namespace, counting)
    asked = counting.asked
    # Looked at for longer than it would take to rest.
    eventually(lambda: counting.asked > asked + 6)
    assert 1 == replicas(api, namespace)
    assert [] == leads(api, namespace)

    counting.in_progress = 0
    asleep(api, namespace)


def test_a_pod_that_does_not_answer_is_not_taken_for_idle(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods, cluster: ControlPlane
) -> None:
    create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
    up(api, namespace, counting)
    counting.silence()

    # Another that becomes idle later rests, so the time for it has gone by.
    cluster.kubectl("create", "namespace", f"{namespace}-b")
    create(api, f"{namespace}-b", minReplicas=0, autoScaling=_BEHAVIOR)
    answering = CountingPods(at=2)
    try:
        up(api, f"{namespace}-b", answering)
        asleep(api, f"{namespace}-b")
    finally:
        answering.silence()
    assert 1 == replicas(api, namespace)


def test_a_new_version_is_tried_before_the_service_rests_again(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
    up(api, namespace, counting)
    asleep(api, namespace)

    change(api, namespace, sklearn={"storageUri": "s3://models/iris-2"})

    # Nobody asked: it is started to see that it starts.
    up(api, namespace, counting)
    asleep(api, namespace)
    ready(api, namespace, "ScaledToZero")


def test_the_way_to_the_activator_stays_right_while_nothing_can_be_planned(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
    up(api, namespace, counting)
    asleep(api, namespace)
    given = ports(api, namespace)
    change(api, namespace, sklearn={"runtime": "none-such"})
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready").get("status") == "False")

    # As where every replica of the activator was replaced by another.
    moved = {"endpoints": [{"addresses": ["192.0.2.7"], "conditions": {"ready": True}}]}
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/iris-predictor-activator"
    api.send("PATCH", path, moved, "application/merge-patch+json").raise_for_status()

    eventually(lambda: leads(api, namespace) == [own_address()])
    assert given == ports(api, namespace)
    assert 0 == replicas(api, namespace)


def test_a_least_of_one_brings_a_pod_back_and_the_way_to_the_activator_goes_after_it_has_come(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
    up(api, namespace, counting)
    asleep(api, namespace)

    change(api, namespace, minReplicas=1)

    eventually(lambda: replicas(api, namespace) == 1)
    assert [own_address()] == leads(api, namespace)
    eventually(lambda: counting.ready(api, namespace) == 1 and endpoint_slice(api, namespace) is None, pause=0.1)
    assert 1 == available(api, namespace)


def test_a_stopped_service_leads_nowhere_and_is_not_woken(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
    up(api, namespace, counting)
    annotations = {"metadata": {"annotations": {"serving.pillion.dev/stop": "true"}}}
    api.patch("InferenceService", namespace, "iris", annotations)

    eventually(lambda: endpoint_slice(api, namespace) is None and replicas(api, namespace) == 0)


def test_a_horizontal_pod_autoscaler_has_the_say_from_one_pod_up_and_leaves_none_alone(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=0, maxReplicas=3, scaleMetric="cpu", autoScaling=_BEHAVIOR)
    up(api, namespace, counting)
    found = eventually(lambda: autoscaler(api, namespace))
    assert found is not None
    assert (1, 3) == (found["spec"]["minReplicas"], found["spec"]["maxReplicas"])

    asleep(api, namespace)

    def disabled() -> bool:
        conditions = (autoscaler(api, namespace) or {}).get("status", {}).get("conditions", [])
        return any(one["type"] == "ScalingActive" and one["reason"] == "ScalingDisabled" for one in conditions)

    eventually(disabled)
    assert 0 == replicas(api, namespace)
    assert "ScaledToZero" == condition(ready(api, namespace, "ScaledToZero"), "ScalingActive")["reason"]


def test_an_edited_slice_is_set_right_and_two_services_share_no_port(
    operator: OperatorProcess, api: Api, namespace: str, cluster: ControlPlane
) -> None:
    create(api, namespace, minReplicas=0)
    eventually(lambda: leads(api, namespace) == [own_address()])
    cluster.kubectl("create", "namespace", f"{namespace}-b")
    create(api, f"{namespace}-b", minReplicas=0)
    eventually(lambda: leads(api, f"{namespace}-b") == [own_address()])
    given = ports(api, namespace)
    assert not set(given.values()) & set(ports(api, f"{namespace}-b").values())

    stolen = [{"name": "http", "port": ports(api, f"{namespace}-b")["http"], "protocol": "TCP"}]
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/iris-predictor-activator"
    api.send("PATCH", path, {"ports": stolen}, "application/merge-patch+json").raise_for_status()

    eventually(lambda: not set(ports(api, namespace).values()) & set(ports(api, f"{namespace}-b").values()))


def test_a_port_that_the_activator_keeps_for_another_is_exchanged_and_its_requests_go_nowhere_else(
    operator: OperatorProcess, api: Api, namespace: str, cluster: ControlPlane, activator: ActivatorProcess
) -> None:
    create(api, namespace, minReplicas=0)
    eventually(lambda: leads(api, namespace) == [own_address()])
    number = ports(api, namespace)["http"]
    # The service of a namespace that was left has that number, too: the slice of the one that is looked after is taken
    # away for a moment, in which its operator has not made it anew.
    left = f"{namespace}-b"
    cluster.kubectl("create", "namespace", left)
    cluster.kubectl("label", "namespace", left, "elsewhere=true")
    owner = {"apiVersion": "serving.pillion.dev/v1beta1", "kind": "InferenceService", "name": "iris"}
    owner["uid"] = api.create(left, inference_service())["metadata"]["uid"]
    found = endpoint_slice(api, namespace) or {}
    kept = {field: found["metadata"][field] for field in ("name", "labels", "annotations")}
    other = {field: found[field] for field in ("apiVersion", "kind", "addressType")} | {
        "metadata": kept | {"ownerReferences": [{**owner, "controller": True}]},
        "ports": [{"name": "http", "port": number, "protocol": "TCP"}],
        "endpoints": [],
    }
    since, uid = api.create(left, other)["metadata"]["resourceVersion"], found["metadata"]["uid"]
    mine = f"{namespace}/iris-predictor:http"

    def at(port: int) -> str:
        return str(activator.ask("/routes").json().get(str(port), ""))

    # Who has a port keeps it, however old the other's claim is.
    eventually(lambda: at(number) == mine)
    operator.signal(signal.SIGSTOP)
    try:
        api.delete("EndpointSlice", namespace, "iris-predictor-activator")
        eventually(lambda: at(number) == f"{left}/iris-predictor:http")
    finally:
        operator.signal(signal.SIGCONT)

    # The activator says that it stands for another there, so nobody is led to it.
    eventually(lambda: leads(api, namespace) == [own_address()])
    anew = [one for one in api.history("EndpointSlice", namespace, since) if one["metadata"]["uid"] != uid]
    led = [bool(one.get("endpoints")) for one in anew if number in (port["port"] for port in one["ports"])]
    assert [False] == list(set(led))
    moved = ports(api, namespace)["http"]
    assert moved != number
    eventually(lambda: at(moved) == mine)


@pytest.mark.parametrize(
    ("annotations", "predictor", "said"),
    [
        ({}, {"networkPolicy": {}}, "remove networkPolicy"),
        ({"serving.pillion.dev/autoscalerClass": "external"}, {}, "autoscalerClass is external: remove it"),
        ({}, {"autoScaling": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}}, "selectPolicy is Disabled"),
    ],
)
def test_what_cannot_rest_says_why_and_keeps_a_pod(
    operator: OperatorProcess,
    api: Api,
    namespace: str,
    annotations: dict[str, str],
    predictor: dict[str, Any],
    said: str,
) -> None:
    create(api, namespace, annotations, minReplicas=0, **predictor)

    def look() -> dict[str, Any] | None:
        found = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured")
        return found if found.get("status") == "False" else None

    found = eventually(look)
    assert found is not None
    assert said in found["message"]
    assert "spec.predictor.minReplicas: 0" in found["message"]
    assert endpoint_slice(api, namespace) is None


def listen(api: Api, namespace: str, **listening: int) -> None:
    """Say, as the controller does once a pod is Ready, where it listens."""
    manager = "endpointslice-controller.k8s.io"
    service = {"kubernetes.io/service-name": "iris-predictor", "serving.pillion.dev/inferenceservice": "iris"}
    api.create(
        namespace,
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "iris-predictor-x7k2p",
                "labels": service | {"endpointslice.kubernetes.io/managed-by": manager},
            },
            "addressType": "IPv4",
            "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in listening.items()],
            "endpoints": [{"addresses": [own_address()], "conditions": {"ready": True}}],
        },
    )


def slices_and_counts(api: Api, namespace: str, since: str) -> list[str]:
    """What happened, in order: the Service led to the activator, and its pods were told to go."""
    slices = [
        (int(state["metadata"]["resourceVersion"]), "led")
        for state in api.history("EndpointSlice", namespace, since)
        if state["metadata"]["name"].endswith("-activator") and state.get("endpoints")
    ]
    counts = [
        (int(state["metadata"]["resourceVersion"]), "none")
        for state in api.history("Deployment", namespace, since)
        if state["spec"]["replicas"] == 0
    ]
    return [what for _, what in sorted(slices + counts)]


def test_the_activator_uses_each_of_its_rights_and_needs_no_other(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods, audit_log: Path
) -> None:
    create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
    up(api, namespace, counting)
    asleep(api, namespace)
    with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get, f"http://{own_address()}:{ports(api, namespace)['http']}/", timeout=WITHIN)
        eventually(lambda: replicas(api, namespace) == 1)
        with serving(echo) as port:
            listen(api, namespace, http=port)
            assert 200 == answer.result().status_code

    user = "system:serviceaccount:pillion-system:pillion-activator"
    lines = audited(audit_log, user)
    used = {
        ("/".join(filter(None, (ref["resource"], ref.get("subresource")))), line["verb"])
        for line in lines
        if (ref := line.get("objectRef"))
    }
    granted = {(rule.resource, verb) for rule in (*activator_rules(), *activator_own_rules()) for verb in rule.verbs}
    assert granted == used
    assert [] == [line["requestURI"] for line in lines if line.get("responseStatus", {}).get("code") == 403]
