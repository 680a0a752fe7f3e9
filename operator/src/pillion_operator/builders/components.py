"""The components beside the predictor: the transformer in front of it, and the explainer.

Each is built as a predictor is: it stands in the predictor's place in a service of the same name, and what builders say
of its fields is told by its own name. Its server is a container of the manifest, which is told where the predictor is
as KServe tells it, by arguments, or as Pillion's own clients are told, by a variable.
Source: KServe v1beta1, CustomTransformer and CustomExplainer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pillion.resources.autoscaling import metric_plan
from pillion.resources.conventions import NO_AUTOSCALER, annotation
from pillion_operator.builders.applications import applications_gaps, no_image
from pillion_operator.builders.autoscaler import replica_bounds
from pillion_operator.builders.children import component_children
from pillion_operator.builders.context import BuildContext
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.logger import logger_problem
from pillion_operator.builders.service import addresses, endpoints, target_ports
from pillion_operator.state.kinds import DEPLOYMENT
from pillion_operator.state.manifest import array, object_at, objects_at, revision, value_at
from pillion_operator.state.names import EXPLAINER, RUNTIME_CONTAINER, TRANSFORMER, component_name
from pillion_operator.state.plan import ComponentPlan, Note, PlanError
from pillion_operator.state.policies import NamespaceRules
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import InferenceService, JsonObject, PredictorSpec
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.plan import Desired, Endpoints, ReplicaBounds
    from pillion_operator.state.settings import RenderSettings

__all__ = ["with_components"]

#: What Pillion's clients and commands ask where they are given no address.
_URL_VARIABLE: Final = "PILLION_URL"


def with_components(
    service: InferenceService,
    uid: str,
    desired: Desired,
    settings: RenderSettings,
    optional_kinds: frozenset[Kind] = frozenset(),
) -> Desired:
    """Return the plan with those of the transformer and the explainer, where the manifest has them."""
    found: list[ComponentPlan] = []
    for component, asked in ((TRANSFORMER, service.spec.transformer), (EXPLAINER, service.spec.explainer)):
        placed = None if asked is None else asked.as_predictor
        if placed is not None:
            found.append(_planned(service, uid, component, placed, desired.endpoints, settings, optional_kinds))
    notes = [note for one in found for note in one.notes]
    return replace(desired, components=tuple(found), notes=(*desired.notes, *notes))


def _planned(
    service: InferenceService,
    uid: str,
    component: str,
    placed: PredictorSpec,
    predictor: Endpoints,
    settings: RenderSettings,
    optional_kinds: frozenset[Kind],
) -> ComponentPlan:
    ours = placed.serving_container is not None and placed.serving_container.name == RUNTIME_CONTAINER
    # Another's container asks no caller: it hands on what callers bring, and the predictor asks.
    spec = service.spec.model_copy(
        update={
            "predictor": placed, "transformer": None, "explainer": None, "graph": None,
            "auth": service.spec.auth if ours else None,
        }
    )  # fmt: skip  # name and value read as pairs
    stands = service.model_copy(update={"spec": spec})
    # The operator reads no counts of its requests: an autoscaler of the cluster may decide, and none goes to zero.
    bounds = replica_bounds(stands, settings, counted=False)
    try:
        context = _context(stands, uid, component, predictor, settings)
        children, notes = component_children(context, bounds, optional_kinds)
    except PlanError as error:
        name = component_name(service.metadata.name or "", component)
        host = f"{name}.{service.metadata.namespace}.svc.{settings.cluster_domain}"
        problem = replace(
            error.problem,
            text=_called(error.problem.text, component),
            location=_called(error.problem.location, component),
            remedy=_called(error.problem.remedy, component),
        )
        return ComponentPlan(component, (), bounds, addresses(host, secure=False, grpc=False), problem=problem)
    gaps = (Note(Reason.FIELDS_NOT_HONOURED, text) for text in _gaps(context, service, bounds))
    told = tuple(Note(note.reason, _called(note.text, component)) for note in (*notes, *gaps))
    manifest = next(child.manifest for child in children if child.kind is DEPLOYMENT)
    digest = revision(object_at(manifest, "spec", "template"))
    return ComponentPlan(component, children, bounds, endpoints(context), digest, notes=told)


def _context(
    stands: InferenceService, uid: str, component: str, predictor: Endpoints, settings: RenderSettings
) -> BuildContext:
    placed = stands.spec.predictor
    named = placed.serving_container
    if named is None:
        raise PlanError(no_image())
    own = [container.to_api() for container in placed.containers or ()]
    serving = next(container for container in own if container.get("name") == named.name)
    rest = tuple(container for container in own if container is not serving)
    credentials, rules = StorageCredentials(), NamespaceRules()
    context = BuildContext(
        stands, uid, serving, None, credentials, settings, rules, sidecars=rest, component=component
    )  # fmt: skip
    return replace(context, container=_told(context, predictor))


def _told(context: BuildContext, predictor: Endpoints) -> JsonObject:
    """Return the container that knows where the predictor is; what the manifest says itself stays."""
    container = context.container
    variables = objects_at(container, "env")
    if not any(one.get("name") == _URL_VARIABLE for one in variables):
        variables = [*variables, {"name": _URL_VARIABLE, "value": predictor.url}]
    told: JsonObject = container | {"env": array(variables)}
    if context.ours:
        return told
    name, workers = context.name, context.predictor.container_concurrency
    arguments = {
        "--model_name": name,
        "--predictor_host": f"{component_name(name, 'predictor')}.{context.namespace}",
        # The one that the Service leads to.
        "--http_port": str(target_ports(context)[0]),
        **({"--predictor_use_ssl": "true"} if predictor.secure else {}),
        **({"--workers": str(workers)} if workers else {}),
    }
    listed = value_at(container, "args")
    given = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
    said = {text.partition("=")[0] for text in given}
    added = [text for pair in arguments.items() if pair[0] not in said for text in pair]
    return told | {"args": array([*given, *added])}


def _called(text: str, component: str) -> str:
    """Return what was said of the predictor's fields with those of the component that stands in its place."""
    return text.replace("spec.predictor", f"spec.{component}")


def _gaps(context: BuildContext, service: InferenceService, bounds: ReplicaBounds) -> list[str]:
    """Return what is set and has no effect on a component beside the predictor."""
    predictor, name = context.predictor, context.container.get("name")
    found = list(applications_gaps(context))
    unlogged = logger_problem(context)
    found += [] if unlogged is None else [unlogged]
    if predictor.min_replicas == 0 and bounds.most != 0:
        found.append("spec.predictor.minReplicas: 0 (only the predictor may have no pod; one pod stays)")
    counted = metric_plan(predictor).pods
    if counted is not None and annotation(context.service.metadata, "autoscalerClass") not in NO_AUTOSCALER:
        found.append(f"spec.predictor.scaleMetric {counted.name} (only of the predictor; scale on cpu or memory)")
    rollout = predictor.rollout
    if rollout is not None and (rollout.steps or rollout.analysis):
        found.append("spec.predictor.rollout.steps and analysis (shares are the predictor's alone)")
    if rollout is not None and rollout.mode and predictor.deployment_strategy is not None:
        found.append("spec.predictor.rollout.mode beside deploymentStrategy, which decides")
    if predictor.metrics is not None and predictor.metrics.on_data_port and not context.ours:
        found.append(f"spec.predictor.metrics.onDataPort on the container {name!r}, which is not Pillion's runtime")
    if predictor.container_concurrency and context.ours:
        found.append(
            "spec.predictor.containerConcurrency on Pillion's runtime (set maxOngoingRequests of applications)"
        )
    if service.spec.auth is not None and not context.ours:
        found.append(
            f"spec.auth on the container {name!r} of spec.predictor, which is not Pillion's runtime (it has to hand on "
            "what callers bring; the predictor asks them)"
        )
    return found
