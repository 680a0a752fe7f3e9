"""Which fields of an InferenceService this release acts on.

No field is ever silently ignored: the operator turns a condition false that names what `unhonoured_fields` returns.
A test holds `HONOURED` and `NOT_YET` to name every field of the schema once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pillion.resources.autoscaling import metric_plan
from pillion.resources.base import ResourceModel
from pillion.resources.component import FORMAT_SHORTHANDS, PREDICTORS_ALONE
from pillion.resources.core import ContainerFields, SmallContainerFields
from pillion.resources.pod import PodFields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.resources.component import ExplainerSpec, PredictorSpec, TransformerSpec
    from pillion.resources.inferenceservice import InferenceServiceSpec


def _fields(model: type[ResourceModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


_SOURCE = (
    "storageUri", "digest", "storage.key", "storage.path", "storage.parameters",
    "runtime", "runtimeVersion", "protocolVersion", "allowPickle",
)  # fmt: skip

#: Components beside the predictor, and which of its fields mean the same there.
_BESIDE = ("transformer", "explainer")
_LIKE_THE_PREDICTOR = (
    *_fields(PodFields), "minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling",
    "containerConcurrency", "timeout", "labels", "annotations", "deploymentStrategy", "drain", "rollout",
    "networkPolicy", "metrics", "applications", "http", "logger",
)  # fmt: skip

#: Fields that are acted on; with a field, all that is inside it, but for what `NOT_YET` takes out.
HONOURED: frozenset[str] = frozenset(
    [
        # A shorthand is a model with a format; whether a runtime serves that format is for the selection to say.
        # The fields of pods and containers reach the Deployment as they are, whatever they are.
        *(f"predictor.{field}" for field in _fields(PodFields)),
        *(f"predictor.{name}.{field}" for name in FORMAT_SHORTHANDS for field in _fields(SmallContainerFields)),
        *(f"predictor.model.{field}" for field in _fields(ContainerFields)),
        *(f"predictor.{name}.{field}" for name in (*FORMAT_SHORTHANDS, "model") for field in (*_SOURCE, "name")),
        "predictor.model.modelFormat",
        "predictor.model.trustCode",
        "predictor.model.trustedTypes",
        "predictor.sklearn.trustedTypes",
        "predictor.models",
        "predictor.modelPlacement",
        "predictor.minReplicas",
        "predictor.maxReplicas",
        "predictor.scaleTarget",
        "predictor.scaleMetric",
        "predictor.scaleMetricType",
        "predictor.autoScaling",
        "predictor.containerConcurrency",
        "predictor.timeout",
        "predictor.batcher",
        "predictor.execution",
        "predictor.followTrainings",
        "predictor.jobs",
        "predictor.labels",
        "predictor.annotations",
        "predictor.deploymentStrategy",
        "predictor.tls.secretName",
        "predictor.tls.clientCASecretName",
        "predictor.tls.mode",
        "predictor.tls.selfSigned",
        "predictor.tls.certManager",
        "predictor.drain",
        "predictor.canaryTrafficPercent",
        "predictor.rollout.mode",
        "predictor.rollout.progressDeadline",
        "predictor.rollout.steps",
        "predictor.rollout.analysis",
        "predictor.networkPolicy",
        "predictor.metrics.enabled",
        "predictor.metrics.monitor",
        "predictor.metrics.onDataPort",
        "predictor.applications",
        "predictor.http",
        *(f"predictor.logger.{field}" for field in ("url", "mode", "metadataHeaders", "metadataAnnotations")),
        "predictor.logger.samplePercent",
        "predictor.storage",
        "predictor.storageUris",
        *(f"{component}.{field}" for component in _BESIDE for field in _LIKE_THE_PREDICTOR),
        "graph",
        "networking",
        "auth",
    ]
)

#: Fields that are accepted and not acted on yet, with all that is inside them.
NOT_YET: frozenset[str] = frozenset(
    [
        *(f"{component}.{field}" for component in _BESIDE for field in PREDICTORS_ALONE),
        "explainer.art",
        "canary",
        *(f"predictor.{name}.storage.schemaPath" for name in (*FORMAT_SHORTHANDS, "model")),
        *(f"predictor.{name}.confidential" for name in (*FORMAT_SHORTHANDS, "model")),
        "predictor.name",
        *(f"predictor.logger.{field}" for field in ("storage", "marshallerUrl", "batchSize", "batchInterval")),
        "predictor.storageContainerName",
        "predictor.workerSpec",
        "predictor.models.storage.schemaPath",
        "predictor.management",
    ]
)

#: What does the same in this release, of fields of `NOT_YET` for which something does.
INSTEAD: dict[str, str] = {
    "explainer.art": "there is no image of it: name one in containers",
    "canary": "set canaryTrafficPercent together with the change of spec.predictor: the version before keeps the rest",
}

#: Schemes of storage URIs that files are fetched from.
HONOURED_SCHEMES = frozenset(
    {"file", "pvc", "s3", "gs", "az", "http", "https", "configmap", "hf", "oci", "oci+fetch", "models", "runs"}
)


@dataclass(frozen=True, slots=True)
class UnhonouredField:
    """A field that is set and has no effect in this release.

    Attributes:
        field: its address below `spec`, such as `spec.predictor.workerSpec`.
        reason: why, where it is the value and not the field.
    """

    field: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.field} ({self.reason})" if self.reason else self.field


def unhonoured_fields(spec: InferenceServiceSpec, *, scaled_by_us: bool = True) -> list[UnhonouredField]:
    """Return every field that is set and has no effect in this release, in the order of the schema.

    `scaled_by_us` is false where the annotation `autoscalerClass` leaves scaling to somebody else: what its fields mean
    is theirs to say then.
    """
    named = [
        UnhonouredField(f"spec.{field}", INSTEAD.get(field, "")) for field in _set_and_not_yet(spec, "", set(NOT_YET))
    ]
    own = [*_values(spec.predictor), *(_scaling(spec.predictor) if scaled_by_us else ())]
    beside = [
        one for component in _BESIDE for one in _of_component(component, getattr(spec, component), scaled=scaled_by_us)
    ]
    return list(dict.fromkeys([*named, *own, *beside]))


def _of_component(
    name: str, component: TransformerSpec | ExplainerSpec | None, *, scaled: bool
) -> Iterator[UnhonouredField]:
    """Yield what has no effect in the predictor's place either."""
    placed = None if component is None else component.as_predictor
    if placed is None:
        return
    found = [UnhonouredField(f"spec.{field}") for field in _set_and_not_yet(placed, "predictor", set(NOT_YET))]
    for one in (*found, *(_scaling(placed) if scaled else ())):
        yield UnhonouredField(one.field.replace("spec.predictor", f"spec.{name}", 1), one.reason)


def _set_and_not_yet(model: ResourceModel, above: str, not_yet: set[str]) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        value, address = getattr(model, name), f"{above}.{field.alias}".removeprefix(".")
        if _asks_for_nothing(value):
            continue
        if address in not_yet:
            yield address
        elif isinstance(value, ResourceModel):
            yield from _set_and_not_yet(value, address, not_yet)


def _asks_for_nothing(value: object) -> bool:
    """Return whether leaving `value` aside changes nothing: absent, empty, or false all the way down."""
    if isinstance(value, ResourceModel):
        return all(_asks_for_nothing(getattr(value, name)) for name in type(value).model_fields)
    return value is None or value is False or value in ([], {})


def _values(predictor: PredictorSpec) -> Iterator[UnhonouredField]:
    several = {f"models[{model.name}]": model for model in predictor.models or ()}
    formats = {name: getattr(predictor, name) for name in FORMAT_SHORTHANDS}
    sources = {"model": predictor.model, **several, **formats}
    for name, model in several.items():
        if model.storage is not None and model.storage.schema_path:
            yield UnhonouredField(f"spec.predictor.{name}.storage.schemaPath")
    uris = {f"{name}.storageUri": source.storage_uri for name, source in sources.items() if source is not None}
    uris |= {f"storageUris[{index}].uri": source.uri for index, source in enumerate(predictor.storage_uris or ())}
    for field, uri in uris.items():
        scheme = uri.partition(":")[0] if uri is not None else "file"
        if scheme not in HONOURED_SCHEMES and not (uri or "").startswith("/"):
            yield UnhonouredField(f"spec.predictor.{field}", f"{scheme} is not available yet")


def _scaling(predictor: PredictorSpec) -> Iterator[UnhonouredField]:
    least = max(1, predictor.min_replicas or 1)
    plan = metric_plan(predictor)
    if predictor.max_replicas and predictor.max_replicas > least and plan.empty:
        yield UnhonouredField("spec.predictor.maxReplicas", f"there is nothing to scale on; {least} run")
    for field, why in plan.left_out:
        yield UnhonouredField(f"spec.predictor.{field}", why)


def classified(address: str) -> bool | None:
    """Return whether the field at `address` (below `spec`) is honoured; None where no table names it or its parents."""
    parts = address.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in NOT_YET:
            return False
        if prefix in HONOURED:
            return True
    return None


__all__ = [
    "HONOURED",
    "HONOURED_SCHEMES",
    "INSTEAD",
    "NOT_YET",
    "UnhonouredField",
    "classified",
    "unhonoured_fields",
]
