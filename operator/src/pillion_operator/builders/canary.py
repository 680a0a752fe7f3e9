"""The newest revision beside the last good one: a Deployment of its own.

Both kinds of pods stand behind the one Service, so a share of the pods is the share of the connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.analysis.steps import Stage
from pillion_operator.builders.planned import first_of
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT, SERVICE
from pillion_operator.state.manifest import (
    annotations_of,
    key_of,
    object_at,
    objects_at,
    revision,
    seconds_at,
    timestamp_of,
)
from pillion_operator.state.names import (
    CANARY,
    ROLLOUT_SINCE_ANNOTATION,
    ROLLOUT_STEP_ANNOTATION,
    VARIANT_LABEL,
    canary_name,
    predictor_name,
    runtime_config_name,
    runtime_config_of_canary,
)
from pillion_operator.state.plan import Child

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Desired

__all__ = ["canary_children", "listens_alike", "stage_of"]


def canary_children(service: str, desired: Desired) -> tuple[Child, ...]:
    """Return the Deployment of the newest revision under a name of its own, and its configuration."""
    found: list[Child] = []
    config = runtime_config_name(service)
    for child in desired.children:
        name = key_of(child.manifest).name
        if child.kind is CONFIG_MAP and name == config:
            found.append(Child(CONFIG_MAP, _named(child.manifest, runtime_config_of_canary(service))))
        elif child.kind is DEPLOYMENT and name == predictor_name(service):
            spec = object_at(child.manifest, "spec")
            selector = object_at(spec, "selector", "matchLabels") | {VARIANT_LABEL: CANARY}
            template = _template(object_at(spec, "template"), config, runtime_config_of_canary(service))
            manifest = _named(child.manifest, canary_name(service))
            manifest["metadata"] = object_at(manifest, "metadata") | _progress(desired)
            manifest["spec"] = spec | {"selector": {"matchLabels": selector}, "template": template}
            found.append(Child(DEPLOYMENT, manifest))
    return tuple(found)


def stage_of(live: Manifest | None, digest: str) -> Stage:
    """Return how far the steps of that revision are, as the Deployment that has a share keeps it."""
    if live is None or revision(object_at(live, "spec", "template")) != digest:
        return Stage()
    kept = annotations_of(live)
    passed = kept.get(ROLLOUT_STEP_ANNOTATION, "")
    since = seconds_at(live, "metadata", "annotations", ROLLOUT_SINCE_ANNOTATION)
    return Stage(int(passed), since) if passed.isascii() and passed.isdecimal() else Stage()


def _progress(desired: Desired) -> JsonObject:
    progress = desired.progress
    if progress is None or not progress.steps:
        return {}
    passed = progress.steps if progress.percent == 100 else progress.step - 1
    kept: JsonObject = {ROLLOUT_STEP_ANNOTATION: str(passed)}
    if progress.since:
        kept[ROLLOUT_SINCE_ANNOTATION] = timestamp_of(progress.since)
    return {"annotations": kept}


def listens_alike(data: JsonObject, desired: Desired) -> bool:
    """Whether a kept revision can stand behind the same Service as the newest."""
    return object_at(data, "service") == object_at(first_of(desired, SERVICE), "spec")


def _named(manifest: JsonObject, name: str) -> JsonObject:
    return manifest | {"metadata": object_at(manifest, "metadata") | {"name": name}}


def _template(template: JsonObject, config: str, own: str) -> JsonObject:
    metadata, spec = object_at(template, "metadata"), object_at(template, "spec")
    volumes = [
        volume | {"configMap": object_at(volume, "configMap") | {"name": own}}
        if object_at(volume, "configMap").get("name") == config
        else volume
        for volume in objects_at(spec, "volumes")
    ]
    labels = object_at(metadata, "labels") | {VARIANT_LABEL: CANARY}
    return {
        "metadata": metadata | {"labels": labels},
        "spec": spec | ({"volumes": [*volumes]} if volumes else {}),
    }
