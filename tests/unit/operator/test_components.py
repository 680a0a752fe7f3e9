"""The transformer and the explainer: what they are made into, who leads to them, and how they are judged."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from pillion.resources import InferenceService
from pillion_operator.apply.children import ChildApplier
from pillion_operator.builders.components import with_components
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.judge.status import facts_of, status_of, verdicts
from pillion_operator.observe.store import Store
from pillion_operator.reconcile.routes import routed
from pillion_operator.state.kinds import (
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    HTTP_ROUTE,
    INGRESS,
    POD,
    POD_MONITOR,
    SERVICE,
    TLS_ROUTE,
)
from pillion_operator.state.manifest import Key, key_of
from pillion_operator.state.observed import Observed, Outcome
from pillion_operator.state.plan import ComponentPlan, Problem
from tests.unit.operator.test_builders import SETTINGS, builtin

if TYPE_CHECKING:
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.plan import Desired

TIME = "2027-01-15T08:00:00Z"
OWN: dict[str, Any] = {"containers": [{"name": "kserve-container", "image": "registry.example/words:1"}]}
CODE: dict[str, Any] = {"containers": [{"name": "runtime", "image": "registry.example/words:1"}]}
#: A transformer that cannot be planned: the runtime answers that path itself.
BAD: dict[str, Any] = {**CODE, "http": {"rootPath": "/v2"}}
URL = "http://iris-predictor.ns.svc.cluster.local"
FRONT = "http://iris-transformer.ns.svc.cluster.local"


def manifest(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    predictor = {"sklearn": {"storageUri": "s3://models/iris"}}
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "ns", "uid": "u", "generation": 1, "annotations": annotations or {}},
        "spec": {"predictor": predictor, **spec},
    }


def planned(annotations: dict[str, str] | None = None, **spec: Any) -> Desired:
    service = InferenceService.from_manifest(manifest(annotations, **spec))
    desired = plan(service, "u", builtin(), StorageCredentials(), SETTINGS)
    return with_components(service, "u", desired, SETTINGS)


def transformer(**fields: Any) -> ComponentPlan:
    found = planned(transformer={**OWN, **fields}).beside("transformer")
    assert found is not None
    return found


def child(component: ComponentPlan, kind: str) -> Any:
    return next(one.manifest for one in component.children if one.kind.name == kind)


def container(component: ComponentPlan) -> dict[str, Any]:
    found: dict[str, Any] = child(component, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return found


def test_a_transformer_has_a_deployment_and_a_service_of_its_own() -> None:
    found = transformer()

    selector = {"serving.pillion.dev/inferenceservice": "iris", "serving.pillion.dev/component": "transformer"}
    deployment, service = child(found, "Deployment"), child(found, "Service")
    assert ["Service", "Deployment"] == [one.kind.name for one in found.children]
    assert {"iris-transformer"} == {one["metadata"]["name"] for one in (deployment, service)}
    assert selector == deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert "u" == deployment["metadata"]["ownerReferences"][0]["uid"]
    assert FRONT == found.endpoints.url


def test_series_of_a_component_are_told_from_those_of_the_predictor() -> None:
    monitored = {"metrics": {"monitor": {"kind": "PodMonitor"}}}
    service = InferenceService.from_manifest(manifest(transformer={**CODE, **monitored}))
    desired = plan(service, "u", builtin(), StorageCredentials(), SETTINGS)

    (found,) = with_components(service, "u", desired, SETTINGS, frozenset({POD_MONITOR})).components

    spec = child(found, "PodMonitor")["spec"]
    names = ["serving.pillion.dev/inferenceservice", "serving.pillion.dev/component"]
    assert names == spec["podTargetLabels"] == [*spec["selector"]["matchLabels"]]


def test_the_predictor_is_what_it_was_without_them() -> None:
    alone, with_both = planned(), planned(transformer=OWN, explainer=OWN)

    assert (alone.children, alone.endpoints, alone.revision) == (
        with_both.children,
        with_both.endpoints,
        with_both.revision,
    )
    assert ["transformer", "explainer"] == [one.component for one in with_both.components]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], ["--model_name", "iris", "--predictor_host", "iris-predictor.ns", "--http_port", "8080"]),
        (["--model_name=words", "--http_port", "9"], ["--predictor_host", "iris-predictor.ns"]),
    ],
)
def test_another_s_container_is_told_where_the_predictor_is_as_kserve_tells_it(
    given: list[str], told: list[str]
) -> None:
    found = container(transformer(containers=[{"name": "kserve-container", "image": "words:1", "args": given}]))

    assert [*given, *told] == found["args"]
    assert {"name": "PILLION_URL", "value": URL} in found["env"]


def test_a_container_is_told_the_port_that_its_service_leads_to() -> None:
    ports = [{"name": "grpc", "containerPort": 9001}, {"containerPort": 9000}]
    found = transformer(containers=[{"name": "kserve-container", "image": "words:1", "ports": ports}])

    args = container(found)["args"]
    assert "9000" == args[args.index("--http_port") + 1]
    assert 9000 == child(found, "Service")["spec"]["ports"][0]["targetPort"]


def test_tls_and_workers_are_told_as_kserve_tells_them() -> None:
    predictor = {"sklearn": {"storageUri": "s3://models/iris"}, "tls": {"secretName": "iris-tls"}}

    found = planned(predictor=predictor, explainer={**OWN, "containerConcurrency": 4}).beside("explainer")

    assert found is not None
    assert ["--predictor_use_ssl", "true", "--workers", "4"] == container(found)["args"][-4:]
    assert {"name": "PILLION_URL", "value": URL.replace("http", "https")} in container(found)["env"]


def test_our_own_runtime_gets_the_address_by_a_variable_and_a_file_of_its_own() -> None:
    shop = {"name": "shop", "importPath": "shop:Shop"}

    found = transformer(**CODE, applications=[shop])

    config = child(found, "ConfigMap")
    assert "iris-transformer-runtime" == config["metadata"]["name"]
    file = yaml.safe_load(config["data"]["runtime.yaml"])
    assert (["shop"], None) == ([one["name"] for one in file["applications"]], file.get("models") or None)
    assert "args" not in container(found)
    assert [{"name": "PILLION_URL", "value": URL}] == container(found)["env"]
    volumes = {one["name"]: one for one in child(found, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    assert "iris-transformer-models" == volumes["declared"]["configMap"]["name"]


def test_an_address_in_the_manifest_stays() -> None:
    mine = {"name": "PILLION_URL", "value": "http://other"}

    found = container(transformer(containers=[{"name": "runtime", "image": "words:1", "env": [mine]}]))

    assert [mine] == found["env"]


def test_replicas_policies_and_autoscalers_are_those_of_the_component() -> None:
    found = transformer(minReplicas=2, maxReplicas=4, networkPolicy={}, scaleTarget=50)

    kinds = ["Service", "NetworkPolicy", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"]
    assert kinds == [one.kind.name for one in found.children]
    target = child(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
    assert ("iris-transformer", 2, 4) == (target, found.replicas.least, found.replicas.most)
    assert found.replicas.autoscaled


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"minReplicas": 0}, "spec.transformer.minReplicas: 0 (only the predictor may have no pod; one pod stays)"),
        (
            {"scaleMetric": "rps", "maxReplicas": 2},
            "spec.transformer.scaleMetric rps (only of the predictor; scale on cpu or memory)",
        ),
        (
            {"rollout": {"steps": [{"weight": 5}]}},
            "spec.transformer.rollout.steps and analysis (shares are the predictor's alone)",
        ),
        (
            {"logger": {"url": "http://sink"}},
            "spec.transformer.logger on the container 'kserve-container', which is not Pillion's runtime",
        ),
    ],
)
def test_what_has_no_effect_on_a_transformer_is_named_by_its_own_field(fields: dict[str, Any], said: str) -> None:
    found = planned(transformer={**OWN, **fields})

    assert [said] == [note.text for note in found.notes]
    assert found.components[0].replicas.least == 1


def test_what_is_the_predictor_s_alone_changes_nothing_of_a_transformer() -> None:
    alone = {
        "tls": {"secretName": "iris-tls"},
        "storage": {"volume": {"sizeLimit": "1Gi"}},
        "storageUris": [{"uri": "s3://models/words"}],
        "canaryTrafficPercent": 10,
        "batcher": {"maxBatchSize": 4},
    }

    assert transformer(**CODE) == transformer(**CODE, **alone)


def test_callers_are_asked_by_our_runtime_and_another_s_is_told_of() -> None:
    auth = {"apiKeys": {"secretName": "keys"}}

    ours, others = planned(auth=auth, transformer=CODE), planned(auth=auth, transformer=OWN)

    file = yaml.safe_load(child(ours.components[0], "ConfigMap")["data"]["runtime.yaml"])
    assert {"api_keys": "/etc/pillion/api-keys"} == file["settings"]["auth"]
    assert () == ours.notes
    assert "spec.auth on the container 'kserve-container' of spec.transformer" in others.notes[0].text


def test_a_transformer_that_cannot_be_planned_names_its_own_field_and_harms_no_predictor() -> None:
    shop = {"name": "shop", "importPath": "shop:Shop"}

    found = planned(transformer={"applications": [shop]})

    problem = found.components[0].problem
    assert problem is not None
    assert "spec.transformer.applications" == problem.location
    assert "spec.transformer.containers" in problem.sentence
    assert "spec.predictor" not in problem.sentence
    assert (None, ()) == (found.problem, found.components[0].children)


def test_an_explainer_of_kserve_s_kinds_is_not_made() -> None:
    assert () == planned(explainer={"art": {"type": "SquareAttack"}}).components


def test_a_stopped_service_has_no_pod_of_any() -> None:
    found = planned({"serving.pillion.dev/stop": "true"}, transformer=OWN)

    assert (0, 0) == (found.replicas.most, found.components[0].replicas.most)


# --- who leads to them


def live(name: str, available: int) -> dict[str, Any]:
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    template = {"metadata": {"annotations": {"serving.pillion.dev/revision": "new"}}}
    return {
        "metadata": {"name": name, "generation": 1},
        "spec": {"replicas": 1, "template": template},
        "status": status | {"readyReplicas": available, "availableReplicas": available},
    }


def looked_at(*ready: str, told: str = "", pods: tuple[Any, ...] = (), **spec: Any) -> tuple[Observed, Desired]:
    """What is there, and the plan with its routes; of the components named a pod is available."""
    stored = manifest(**spec)
    stored["status"] = {"address": {"url": told}} if told else {}
    names = [f"iris-{one}" for one in ("predictor", "transformer", "explainer") if one == "predictor" or one in spec]
    deployments = {name: live(name, int(name.removeprefix("iris-") in ready)) for name in names}
    observed = Observed(stored, {DEPLOYMENT: deployments, SERVICE: {name: {} for name in names}}, beside=pods)
    kinds = frozenset({HTTP_ROUTE, INGRESS, TLS_ROUTE})
    return observed, routed(InferenceService.from_api(stored), observed, planned(**spec), Store(), kinds)


GATEWAY = {"gateway": {"name": "edge"}, "hosts": ["iris.example.com"]}


def rules(desired: Desired, kind: Kind = HTTP_ROUTE) -> list[dict[str, Any]]:
    route: Any = next(one.manifest for one in desired.children if one.kind is kind)
    found: list[dict[str, Any]] = route["spec"]["rules"]
    return found


@pytest.mark.parametrize(
    ("ready", "told", "front"),
    [
        (("predictor",), "", "iris-transformer"),
        (("predictor",), URL, "iris-predictor"),
        (("predictor", "transformer"), URL, "iris-transformer"),
        (("predictor",), FRONT, "iris-transformer"),
    ],
)
def test_callers_are_led_to_a_transformer_as_soon_as_it_serves(ready: tuple[str, ...], told: str, front: str) -> None:
    _, found = looked_at(*ready, told=told, transformer=OWN, networking=GATEWAY)

    assert [{"name": front, "port": 80}] == rules(found)[0]["backendRefs"]
    assert f"http://{front}.ns.svc.cluster.local" == found.front.url


def test_callers_are_not_led_to_somebody_else_s_service_of_that_name() -> None:
    spec: dict[str, Any] = {"transformer": OWN, "networking": GATEWAY}
    seen, _ = looked_at("predictor", "transformer", told=URL, **spec)
    seen = replace(seen, children={**seen.children, SERVICE: {"iris-predictor": {}}})

    found = routed(InferenceService.from_api(seen.service), seen, planned(**spec), Store(), frozenset({HTTP_ROUTE}))

    assert "predictor" == found.entry
    assert [{"name": "iris-predictor", "port": 80}] == rules(found)[0]["backendRefs"]


def test_a_transformer_without_grpc_is_told_of_and_http_is_led_to_it() -> None:
    _, found = looked_at(
        "predictor", "transformer", transformer=OWN, networking={**GATEWAY, "grpcHosts": ["g.example"]}
    )

    assert [{"name": "iris-transformer", "port": 80}] == rules(found)[0]["backendRefs"]
    assert found.routes is not None
    assert ["spec.networking.grpcHosts: the transformer has no port for gRPC"] == [
        one.text for one in found.routes.problems
    ]


def test_explanations_are_asked_of_the_explainer() -> None:
    _, found = looked_at("predictor", "explainer", explainer=OWN, networking={**GATEWAY, "path": "/ml"})

    main, explained = rules(found)
    assert [{"name": "iris-predictor", "port": 80}] == main["backendRefs"]
    assert [{"name": "iris-explainer", "port": 80}] == explained["backendRefs"]
    assert [{"path": {"type": "Exact", "value": "/ml/v1/models/iris:explain"}}] == explained["matches"]
    whole = {"type": "ReplaceFullPath", "replaceFullPath": "/v1/models/iris:explain"}
    assert [{"type": "URLRewrite", "urlRewrite": {"path": whole}}] == explained["filters"]


def test_no_rule_leads_to_an_explainer_that_never_was() -> None:
    spec: dict[str, Any] = {"explainer": BAD, "networking": GATEWAY}
    seen, kept = looked_at("predictor", **spec)
    seen = replace(seen, children={**seen.children, SERVICE: {"iris-predictor": {}}})
    asked = InferenceService.from_api(seen.service)

    found = routed(asked, seen, planned(**spec), Store(), frozenset({HTTP_ROUTE}))

    assert ([["iris-predictor"]], [["iris-predictor"], ["iris-explainer"]]) == (
        [[one["name"] for one in rule["backendRefs"]] for rule in rules(found)],
        [[one["name"] for one in rule["backendRefs"]] for rule in rules(kept)],
    )


def test_an_ingress_leads_to_both_too() -> None:
    _, found = looked_at("predictor", "transformer", "explainer", transformer=OWN, explainer=OWN, networking={})

    paths = {one["path"]: one["backend"]["service"]["name"] for one in rules(found, INGRESS)[0]["http"]["paths"]}
    assert {"/": "iris-transformer", "/v1/models/iris:explain": "iris-explainer"} == paths
    kinds = [one["pathType"] for one in rules(found, INGRESS)[0]["http"]["paths"]]
    assert ["Prefix", "ImplementationSpecific"] == kinds


def test_an_explainer_has_no_way_in_where_nobody_sees_paths() -> None:
    predictor = {"sklearn": {"storageUri": "s3://models/iris"}, "tls": {"secretName": "iris-tls"}}
    through = {**GATEWAY, "tls": {"mode": "Passthrough"}}

    _, found = looked_at("predictor", "explainer", predictor=predictor, explainer=OWN, networking=through)

    assert [[{"name": "iris-predictor", "port": 443}]] == [one["backendRefs"] for one in rules(found, TLS_ROUTE)]
    assert ["spec.explainer from outside"] == [note.text.partition(" (")[0] for note in found.notes]


def test_a_transformer_that_cannot_be_planned_any_more_keeps_the_way_in() -> None:
    _, found = looked_at("predictor", "transformer", told=FRONT, transformer=BAD, networking=GATEWAY)

    assert found.components[0].problem is not None
    assert [{"name": "iris-transformer", "port": 80}] == rules(found)[0]["backendRefs"]


def test_a_transformer_that_is_taken_out_stays_until_the_gateway_has_followed() -> None:
    stored = manifest(networking=GATEWAY)
    route: Any = {"metadata": {"generation": 2}, "spec": {"rules": [{"backendRefs": [{"name": "iris-transformer"}]}]}}
    observed = Observed(stored, {HTTP_ROUTE: {"iris-predictor": route}})

    found = routed(InferenceService.from_api(stored), observed, planned(), Store(), frozenset({HTTP_ROUTE}))

    assert {(DEPLOYMENT, "iris-transformer"), (SERVICE, "iris-transformer")} <= found.spared
    assert [{"name": "iris-predictor", "port": 80}] == rules(found)[0]["backendRefs"]


# --- how they are judged


def judged(*ready: str, pods: tuple[Any, ...] = (), outcome: Outcome | None = None, **spec: Any) -> dict[str, Any]:
    observed, desired = looked_at(*ready, pods=pods, **spec)
    facts = facts_of(InferenceService.from_api(observed.service), observed, desired, outcome or Outcome())
    conditions = {one.type: (one.status, str(one.reason), one.message) for one in verdicts(facts)}
    return {"status": status_of(facts, TIME), **conditions}


def broken(component: str) -> dict[str, Any]:
    waiting = {"waiting": {"reason": "ImagePullBackOff"}}
    labels = {"serving.pillion.dev/component": component, "serving.pillion.dev/inferenceservice": "iris"}
    annotations = {"serving.pillion.dev/revision": "new"}
    statuses = [{"name": "kserve-container", "image": "words:1", "state": waiting}]
    metadata = {"name": f"iris-{component}-1", "namespace": "ns", "labels": labels, "annotations": annotations}
    return {"metadata": {**metadata, "uid": component}, "status": {"containerStatuses": statuses}}


def test_a_service_without_them_has_no_condition_of_theirs() -> None:
    found = judged("predictor")

    assert found["Ready"][0] == "True"
    assert {"TransformerReady", "ExplainerReady"}.isdisjoint(found)
    assert ["predictor"] == [*found["status"]["components"]]


@pytest.mark.parametrize("late", ["transformer", "explainer"])
def test_a_service_is_ready_only_when_all_its_components_are(late: str) -> None:
    both = ("transformer", "explainer")
    found = judged("predictor", *(one for one in both if one != late), transformer=OWN, explainer=OWN)

    kinds = {one: f"{one.title()}Ready" for one in both}
    assert {one: "False" if one == late else "True" for one in both} == {one: found[kinds[one]][0] for one in both}
    assert ("True", "False", "True") == (found["PredictorReady"][0], found["Ready"][0], found["Reconciling"][0])
    assert late in found["Ready"][2]


def test_all_of_them_ready_make_the_service_ready_and_have_their_addresses() -> None:
    found = judged("predictor", "transformer", "explainer", transformer=OWN, explainer=OWN)

    assert ("True", "False") == (found["Ready"][0], found["Reconciling"][0])
    urls = {name: part["url"] for name, part in found["status"]["components"].items()}
    explainer = FRONT.replace("transformer", "explainer")
    assert {"predictor": URL, "transformer": FRONT, "explainer": explainer} == urls
    assert (FRONT, {"url": FRONT}) == (found["status"]["url"], found["status"]["address"])
    assert f"The transformer answers at {FRONT}." == found["RoutesReady"][2]


def test_a_pod_of_a_component_that_does_not_start_is_no_trouble_of_the_predictor() -> None:
    found = judged("predictor", pods=(broken("explainer"),), explainer=OWN)

    assert ("True", "ImagePullBackOff") == (found["PredictorReady"][0], found["ExplainerReady"][1])
    assert ("False", "ImagePullBackOff") == found["Ready"][:2]
    assert "iris-explainer-1" in found["Ready"][2]


def test_what_the_api_server_refuses_of_a_component_is_its_own_and_somebody_has_to_act() -> None:
    refused = Problem("Refused", "no image", "Deployment/iris-transformer", transient=False)

    found = judged("predictor", "transformer", outcome=Outcome((refused,)), transformer=OWN)

    assert ("True", "False") == (found["PredictorReady"][0], found["TransformerReady"][0])
    assert ("True", "Refused") == found["Stalled"][:2]
    assert "Meanwhile 1 pod serves on." in found["TransformerReady"][2]


def test_an_autoscaler_of_a_component_that_is_refused_says_nothing_of_the_predictor_s() -> None:
    scaled = {"minReplicas": 1, "maxReplicas": 3, "scaleMetric": "cpu"}
    predictor = {"sklearn": {"storageUri": "s3://models/iris"}, **scaled}
    refused = Problem("Refused", "no", "HorizontalPodAutoscaler/iris-transformer", transient=False)

    found = judged("predictor", outcome=Outcome((refused,)), predictor=predictor, transformer={**OWN, **scaled})

    assert ("Unknown", "Refused") == (found["ScalingActive"][0], found["TransformerReady"][1])


def test_a_component_that_serves_is_ready_without_a_kind_that_does_not_answer() -> None:
    away = Problem("KindUnavailable", "the API server does not answer for it", "NetworkPolicy/iris-transformer")
    guarded = {**OWN, "networkPolicy": {}}

    found = judged("predictor", "transformer", outcome=Outcome((away,)), transformer=guarded)

    assert ("True", "True") == (found["Ready"][0], found["TransformerReady"][0])
    assert "1 of 1 pods are available; note that the API server does not answer for it" in found["TransformerReady"][2]


def test_an_autoscaler_of_a_component_that_cannot_decide_is_told_of() -> None:
    spec: dict[str, Any] = {"transformer": {**OWN, "minReplicas": 1, "maxReplicas": 3}}
    seen, desired = looked_at("predictor", "transformer", **spec)
    why = "failed to get cpu utilization: missing request for cpu in container kserve-container of Pod x"
    active = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": why}
    scaler = {"metadata": {"name": "iris-transformer"}, "status": {"conditions": [active]}}
    children: Any = {**seen.children, HORIZONTAL_POD_AUTOSCALER: {"iris-transformer": scaler}}
    seen = replace(seen, children=children, now=1e9)

    facts = facts_of(InferenceService.from_api(seen.service), seen, desired, Outcome())

    found = {one.type: one for one in verdicts(facts)}
    assert "ScalingActive" not in found
    assert "True" == found["TransformerReady"].status
    assert "note that the number of pods stays as it is" in found["TransformerReady"].message
    assert "missing request for cpu" in found["TransformerReady"].message


def test_pods_of_other_components_are_not_the_predictor_s() -> None:
    store = Store()
    for number, pod in enumerate((broken("predictor"), broken("transformer"))):
        pod["metadata"]["resourceVersion"] = str(number + 1)
        store.record(POD, pod)
    key = Key("ns", "iris")

    assert ["iris-predictor-1"] == [key_of(pod).name for pod in store.pods(key)]
    assert ["iris-transformer-1"] == [key_of(pod).name for pod in store.pods(key, beside=True)]


# --- how they are applied


class Cluster:
    """An API server that remembers what it was asked to do."""

    def __init__(self) -> None:
        self.scaled: dict[str, int] = {}
        self.deleted: list[str] = []

    async def get(self, *_: Any) -> None:
        return None

    async def apply(self, _: Kind, wanted: Any) -> Any:
        return {**wanted, "spec": {**wanted.get("spec", {}), "replicas": 1}}

    async def scale(self, _: Kind, key: Key, count: int, **__: Any) -> None:
        self.scaled[key.name] = count

    async def delete(self, kind: Kind, key: Key, **_: Any) -> None:
        self.deleted.append(f"{kind.name} {key.name}")


def applied(desired: Desired, children: Any = None) -> tuple[Cluster, Outcome]:
    cluster = Cluster()
    applier = ChildApplier(cast("Any", cluster), lambda *_: None)
    return cluster, asyncio.run(applier.apply(Observed(manifest(), children or {}), desired))


def test_each_component_has_its_own_number_of_pods() -> None:
    cluster, outcome = applied(planned(transformer={**OWN, "minReplicas": 3}, explainer={**OWN, "minReplicas": 2}))

    assert {"iris-transformer": 3, "iris-explainer": 2}.items() <= cluster.scaled.items()
    assert {f"Deployment iris-{one}" for one in ("predictor", "transformer", "explainer")} <= {*outcome.created}


def test_a_stopped_service_that_never_ran_gets_no_deployment_of_any() -> None:
    _, outcome = applied(planned({"serving.pillion.dev/stop": "true"}, transformer=OWN))

    assert [] == [name for name in outcome.created if name.startswith("Deployment")]
    assert "Service iris-transformer" in outcome.created


@pytest.mark.parametrize(
    ("spec", "gone"), [({}, True), ({"transformer": {**CODE, "http": {"rootPath": "/v2"}}}, False)]
)
def test_what_is_taken_out_goes_and_what_cannot_be_planned_stays(*, spec: dict[str, Any], gone: bool) -> None:
    labels = {"serving.pillion.dev/component": "transformer"}
    metadata = {"name": "iris-transformer", "namespace": "ns", "labels": labels, "uid": "d"}
    there = {DEPLOYMENT: {"iris-transformer": {"metadata": metadata, "spec": {"replicas": 1}}}}

    cluster, _ = applied(planned(**spec), there)

    assert (["Deployment iris-transformer"] if gone else []) == cluster.deleted
