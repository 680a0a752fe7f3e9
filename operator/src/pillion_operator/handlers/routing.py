"""From an object that changed to the keys that must be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.builders.claims import claims_of
from pillion_operator.builders.declared import service_of
from pillion_operator.judge import scaling_active
from pillion_operator.observe.store import batch_of, owner_of, training_of
from pillion_operator.state.kinds import (
    BATCH_PREDICTION,
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    LABELLED,
    MODEL,
    POD,
    RUNTIMES,
    TRAINING_JOB,
)
from pillion_operator.state.manifest import Key, condition_of, generation_of, is_deleting, key_of, object_at, text_at
from pillion_operator.state.names import models_config_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

    from pillion.resources import JsonObject
    from pillion_operator.observe.store import Store
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest

__all__ = ["batch_keys_for", "is_news", "keys_for", "models_for", "training_keys_for"]


_MODELS: Final = models_config_name("").removeprefix("-")


def keys_for(kind: Kind, manifest: Manifest, store: Store) -> Iterable[Key]:
    """Return the InferenceServices that the object bears on."""
    if kind == INFERENCE_SERVICE:
        return [key_of(manifest), *_rivals(manifest, store)]
    if kind in LABELLED:
        owner = owner_of(manifest)
        return [] if owner is None else [owner]
    if kind in RUNTIMES:
        # Which service would choose another runtime now is for the selection to say; looking costs no request.
        namespace = key_of(manifest).namespace
        return [key for key in store.keys(INFERENCE_SERVICE) if not namespace or key.namespace == namespace]
    if kind == MODEL:
        return _services_of(manifest, store)
    if kind == TRAINING_JOB:
        served = _served_by(manifest)
        return [] if served is None else [served]
    return []


def _rivals(service: Manifest, store: Store) -> list[Key]:
    """Return the services that ask for a host that this one asks for, too: whose it is may be another's now."""
    claims = claims_of(service)
    if not claims:
        return []
    return [
        key_of(other)
        for other, asked in store.derived(INFERENCE_SERVICE, claims_of)
        if claims & asked and key_of(other) != key_of(service)
    ]


def models_for(kind: Kind, manifest: Manifest, store: Store) -> Iterable[Key]:
    """Return the Models that the object bears on."""
    if kind == MODEL:
        # Who has a name depends on who else asks for it.
        service = service_of(manifest)
        return {key_of(manifest), *_models_of(service, store)}
    if kind == INFERENCE_SERVICE:
        return _models_of(key_of(manifest), store)
    if kind in {POD, DEPLOYMENT, CONFIG_MAP}:
        owner = owner_of(manifest)
        return [] if owner is None else _models_of(owner, store)
    return []


def _models_of(service: Key, store: Store) -> list[Key]:
    return [key_of(model) for model in store.all(MODEL, service.namespace) if service_of(model) == service]


def _services_of(model: Manifest, store: Store) -> set[Key]:
    """Return the service that a Model names, and those that may serve it still: it may have named another before."""
    namespace = key_of(model).namespace
    served = (owner_of(found) for found in store.all(CONFIG_MAP, namespace) if key_of(found).name.endswith(_MODELS))
    return {service_of(model), *(owner for owner in served if owner is not None)}


def training_keys_for(kind: Kind, manifest: Manifest, store: Store) -> Iterable[Key]:
    """Return the TrainingJobs that the object bears on: also those whose model is, or was, served by a service."""
    if kind == TRAINING_JOB:
        served = _served_by(manifest)
        return {key_of(manifest), *([] if served is None else _deployed_to(served, store))}
    if kind == INFERENCE_SERVICE:
        return _deployed_to(key_of(manifest), store)
    owner = training_of(manifest) if kind in LABELLED else None
    return [] if owner is None else [owner]


def batch_keys_for(kind: Kind, manifest: Manifest, store: Store) -> Iterable[Key]:
    """Return the BatchPredictions that the object bears on: also those that ask a service."""
    if kind == BATCH_PREDICTION:
        return [key_of(manifest)]
    if kind == INFERENCE_SERVICE:
        service = key_of(manifest)
        asking = store.all(BATCH_PREDICTION, service.namespace)
        return [key_of(found) for found in asking if text_at(found, "spec", "inferenceService") == service.name]
    owner = batch_of(manifest) if kind in LABELLED else None
    return [] if owner is None else [owner]


def _served_by(training: Manifest) -> Key | None:
    name = text_at(training, "spec", "deploy", "inferenceService")
    return Key(key_of(training).namespace, name) if name else None


def _deployed_to(service: Key, store: Store) -> list[Key]:
    return [key_of(found) for found in store.all(TRAINING_JOB, service.namespace) if _served_by(found) == service]


def is_news(kind: Kind, before: Manifest | None, after: Manifest) -> bool:
    """Whether a change is worth a look.

    An autoscaler writes the load that it saw into its status every fifteen seconds; what counts of it are its spec and
    what it says of itself.
    """
    if before is not None and kind == MODEL:
        # Its status is our own word, and speaks of others' statuses only.
        return generation_of(before) != generation_of(after) or is_deleting(after)
    if kind != HORIZONTAL_POD_AUTOSCALER or before is None:
        return True
    return _told(before) != _told(after)


def _told(autoscaler: Manifest) -> list[JsonValue]:
    metadata = {
        field: value
        for field, value in object_at(autoscaler, "metadata").items()
        if field not in {"resourceVersion", "managedFields"}
    }
    conditions = [_said(condition_of(autoscaler, kind)) for kind in ("AbleToScale", "ScalingActive")]
    return [metadata, object_at(autoscaler, "spec"), *conditions]


def _said(condition: JsonObject) -> JsonObject:
    return condition | {"message": scaling_active.without_pod(text_at(condition, "message"))}
