"""The plan for a whole InferenceService: which runtime serves it, and every child."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pillion.resources import SERVING_CONTAINERS
from pillion.runtimefile import PYTHON
from pillion_operator.builders.activator import activator_slice
from pillion_operator.builders.applications import applications_gaps, no_image
from pillion_operator.builders.auth import check_auth
from pillion_operator.builders.autoscaler import replica_bounds, scaling_gaps
from pillion_operator.builders.children import component_children
from pillion_operator.builders.context import BuildContext
from pillion_operator.builders.declared import declarations, models_in
from pillion_operator.builders.deployment import rollout_gaps
from pillion_operator.builders.graph import check_graph, graph_gap
from pillion_operator.builders.image import with_version
from pillion_operator.builders.logger import logger_problem
from pillion_operator.builders.merge import merge_container
from pillion_operator.builders.own_models import own_models, reserved
from pillion_operator.builders.placeholders import PlaceholderValues, fill_container, unfilled
from pillion_operator.builders.selection import Candidate, select_runtime
from pillion_operator.builders.service import endpoints
from pillion_operator.builders.service_trainings import training_children, training_gap
from pillion_operator.builders.shared_runtime import select_shared_runtime
from pillion_operator.builders.tls import server_secret
from pillion_operator.state.kinds import DEPLOYMENT, SERVICE
from pillion_operator.state.manifest import object_at, objects_at, revision, text_at
from pillion_operator.state.names import MODELS_CONSENT_ANNOTATION, RUNTIME_CONTAINER, predictor_name
from pillion_operator.state.plan import (
    Desired,
    Endpoints,
    Note,
    PlanError,
    Problem,
    RuntimeChoice,
)
from pillion_operator.state.policies import NamespaceRules, consent_of
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.resources import InferenceService, JsonObject, ModelSpec
    from pillion_operator.builders.credentials import StorageCredentials
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.policies import ConsentRule, ModelsConsent
    from pillion_operator.state.settings import RenderSettings

__all__ = ["plan"]

_PER_OBJECT: Final = NamespaceRules()
#: Fields of a model that are not the container's.
_MODEL_FIELDS: Final = (
    "modelFormat", "storageUri", "digest", "storage", "runtime", "runtimeVersion", "protocolVersion", "allowPickle",
    "trustCode", "trustedTypes", "confidential", "name",
)  # fmt: skip


def plan(
    service_: InferenceService,
    uid: str,
    candidates: Sequence[Candidate],
    credentials: StorageCredentials,
    settings: RenderSettings,
    optional_kinds: frozenset[Kind] = frozenset(),
    rules: NamespaceRules = _PER_OBJECT,
    models: Sequence[Manifest] = (),
    told_before: Manifest | None = None,
) -> Desired:
    """Return every child of the service; where a problem keeps some from being planned, the rest and the problem.

    `optional_kinds` are those of `state.kinds.OPTIONAL` that the cluster has; `rules` are the namespace's policies,
    `models` the Model objects of the namespace; `told_before` is the ConfigMap of the models that pods are told of.
    """
    bounds = replica_bounds(service_, settings)
    choice: RuntimeChoice | None = None
    try:
        context, choice = _context(service_, uid, candidates, credentials, settings, rules)
        check_auth(context)
        bounds = replica_bounds(service_, settings, counted=context.ours)
        added = declarations(context.name, models, rules, _consent(context), reserved(service_))
        own, told = own_models(context, models_in(told_before))
        context = replace(context, declared=replace(added, models=(*own, *added.models)))
        declared = context.declared if context.ours else None
        children, notes = component_children(context, bounds, optional_kinds)
        children = (*training_children(context, optional_kinds), *children)
        planned = {child.kind: child.manifest for child in children}
        ports = [text_at(port, "name") for port in objects_at(planned[SERVICE], "spec", "ports")]
        digest = "" if declared is None else declared.digest
        return Desired(
            children,
            bounds,
            endpoints(context),
            choice,
            notes=(*notes, *_gaps(context)),
            pickle=rules.pickle,
            models_digest=digest,
            models=told,
            lead=activator_slice(context, ports),
            revision=revision(object_at(planned[DEPLOYMENT], "spec", "template")),
        )
    except PlanError as error:
        name = predictor_name(service_.metadata.name or "")
        host = f"{name}.{service_.metadata.namespace}.svc.{settings.cluster_domain}"
        scheme = "https" if server_secret(service_) else "http"
        return Desired(
            (), bounds, Endpoints(f"{scheme}://{host}", ""), choice, problem=error.problem, pickle=rules.pickle
        )


def _context(
    service_: InferenceService,
    uid: str,
    candidates: Sequence[Candidate],
    credentials: StorageCredentials,
    settings: RenderSettings,
    rules: NamespaceRules,
) -> tuple[BuildContext, RuntimeChoice | None]:
    check_graph(service_)
    predictor = service_.spec.predictor
    model = predictor.serving_model
    own = [container.to_api() for container in predictor.containers or []]
    brings = next((one for one in own if one.get("name") == RUNTIME_CONTAINER and one.get("image")), None)
    if model is None and (not predictor.models or brings is not None):
        named = predictor.serving_container
        if named is None:
            raise PlanError(no_image())
        serving = next(container for container in own if container.get("name") == named.name)
        rest = tuple(container for container in own if container is not serving)
        if service_.spec.graph is not None:  # which needs nobody's code
            serving = _defaulted(serving, settings)
        return BuildContext(service_, uid, serving, None, credentials, settings, rules, sidecars=rest), None
    if credentials.problem is not None:
        raise PlanError(credentials.problem)
    unserved: dict[str, Problem] = {}
    if model is not None:
        chosen, choice = select_runtime(model, candidates)
    else:
        chosen, choice, unserved = select_shared_runtime(predictor.models or (), candidates)
    runtime = chosen.spec.to_api()
    template = chosen.spec.serving_container
    if template is None:
        raise PlanError(
            Problem(Reason.NO_SERVING_RUNTIME, f"the {chosen.kind} {chosen.name!r} has no container named 'runtime'")
        )
    fields = {} if model is None else model.to_api()
    overlay = {field: value for field, value in fields.items() if field not in _MODEL_FIELDS}
    container = merge_container(template.to_api(), overlay)
    # A container of the manifest that has the serving container's name is the same container.
    for extra in own:
        if extra.get("name") in {template.name, *SERVING_CONTAINERS}:
            container = merge_container(container, {k: v for k, v in extra.items() if k != "name"})
    container = _defaulted(container, settings)
    if model is not None:
        container = _versioned(container, model)
    values = PlaceholderValues(
        service_.metadata.name or "",
        service_.metadata.namespace or "",
        service_.metadata.labels or {},
        service_.metadata.annotations or {},
    )
    container = fill_container(container, values)
    sidecars = [c for c in objects_at(runtime, "containers") if c.get("name") != template.name]
    sidecars = [fill_container(c, values) for c in sidecars]
    for filled in (container, *sidecars):
        _check_placeholders(filled, chosen)
    sidecars += [c for c in own if c.get("name") not in {template.name, *SERVING_CONTAINERS}]
    context = BuildContext(
        service_,
        uid,
        container,
        model,
        credentials,
        settings,
        rules,
        runtime_pod=runtime,
        sidecars=tuple(sidecars),
        unserved=unserved,
    )
    if context.ours and model is not None and model.model_format.name == PYTHON:
        _check_code(model, context.rules.code)
    return context, choice


def _check_code(model: ModelSpec, rule: ConsentRule) -> None:
    """Refuse code from storage before any pod is made that would refuse it."""
    if rule.permits(opted_in=bool(model.trust_code)):
        return
    text = "spec.predictor.model is a class in Python from storage, and in a cluster code runs only from images"
    image = "build an image of it: pillion deploy FOLDER --image HOST/NAME:TAG"
    if rule.denies:
        text += f"; trustCode is not open to it: the code policy is 'deny', by {rule.said_by}"
        remedy = image
    else:
        text += " unless trustCode is true"
        remedy = f"set spec.predictor.model.trustCode: true if you trust everybody who can write there; or {image}"
    raise PlanError(
        Problem(Reason.UNTRUSTED_CODE, text, "spec.predictor.model.trustCode", transient=False, remedy=remedy)
    )


def _check_placeholders(container: JsonObject, runtime: Candidate) -> None:
    found = next(unfilled(container), None)
    if found is None:
        return
    field = f"containers[{container.get('name')}].{found.field}"
    text = f"the placeholder {found.text} in {field} of the {runtime.kind} {runtime.name!r} has no value"
    kind, _, key = found.text.strip("{}- ").removeprefix(".").partition(".")
    source = {"Labels": "label", "Annotations": "annotation"}.get(kind)
    remedy = (
        f"give the InferenceService the {source} {key!r}, or correct the runtime"
        if source and key
        else "correct the runtime: placeholders are {{.Name}}, {{.Namespace}}, {{.Labels.x}} and {{.Annotations.x}}"
    )
    raise PlanError(Problem(Reason.PLACEHOLDER_UNFILLED, text, field, transient=False, remedy=remedy))


def _versioned(container: JsonObject, model: ModelSpec) -> JsonObject:
    """Return the container with the image that `runtimeVersion` asks for, where the manifest gives one."""
    image = container.get("image")
    if not model.runtime_version or not isinstance(image, str):
        return container
    ours = container.get("name") == RUNTIME_CONTAINER
    return container | {"image": with_version(image, model.runtime_version, ours=ours)}


def _defaulted(container: JsonObject, settings: RenderSettings) -> JsonObject:
    """Return the container with our image where a runtime of ours names none."""
    if container.get("name") != RUNTIME_CONTAINER or container.get("image"):
        return container
    return {"imagePullPolicy": settings.image_pull_policy, **container, "image": settings.runtime_image}


def _consent(context: BuildContext) -> ModelsConsent:
    return consent_of(context.service.metadata.annotations or {})


def _gaps(context: BuildContext) -> tuple[Note, ...]:
    """Return what is set and has no effect, as far as only the builders can tell."""
    found: list[str] = []
    predictor = context.predictor
    unknown = _consent(context).unknown
    if unknown:
        found.append(f"{', '.join(map(repr, unknown))} in the annotation {MODELS_CONSENT_ANNOTATION} (pickle, code)")
    if context.model is None and predictor.follow_trainings:
        name = context.container.get("name")
        found.append(f"spec.predictor.followTrainings on the container {name!r}, which is given no model of its own")
    if context.model is not None and context.model.storage is not None:
        for field, given in (("its storageUri", context.model.storage_uri), ("storageUris", predictor.storage_uris)):
            if given:
                found.append(f"the model's storage (an entry of the Secret storage-config) beside {field}")
    if context.model is not None and context.model.allow_pickle and context.rules.pickle.denies:
        found.append(f"the model's allowPickle (the pickle policy is 'deny', by {context.rules.pickle.said_by})")
    if context.model is not None and context.model.trust_code and context.model.model_format.name != PYTHON:
        found.append(f"the model's trustCode (the format {context.model.model_format.name!r} holds no class)")
    if predictor.model_placement is not None and not context.ours:
        name = context.container.get("name")
        found.append(f"spec.predictor.modelPlacement on the container {name!r}, which is not Pillion's runtime")
    if predictor.metrics is not None and predictor.metrics.on_data_port and not context.ours:
        name = context.container.get("name")
        found.append(f"spec.predictor.metrics.onDataPort on the container {name!r}, which is not Pillion's runtime")
    found += (*applications_gaps(context), *graph_gap(context), *scaling_gaps(context), *training_gap(context))
    unlogged = logger_problem(context)
    found += [] if unlogged is None else [unlogged]
    found += rollout_gaps(context)
    if predictor.tls is not None and not context.ours:
        found.append(
            f"spec.predictor.tls on the container {context.container.get('name')!r}, which is not Pillion's runtime"
        )
    return tuple(Note(Reason.FIELDS_NOT_HONOURED, text) for text in found)
