"""What is kept of a revision, and a plan whose pods are those of a kept one.

A revision is what its pods see: their template, `runtime.yaml`, and the Service, whose ports are those on which they
listen. The predictor's spec is kept beside it, for people and for `pillion rollout undo`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pillion.modelsfile import MODELS_FILE, MOST_MODELS, dump
from pillion_operator.builders.configmap import CONFIG_FILE
from pillion_operator.builders.declared import digest_of, models_in
from pillion_operator.builders.planned import first_of, runtime_config
from pillion_operator.builders.policed import policed_model
from pillion_operator.builders.service import addresses
from pillion_operator.builders.shares import of_both
from pillion_operator.state.kinds import CONFIG_MAP, CONTROLLER_REVISION, DEPLOYMENT, SERVICE
from pillion_operator.state.manifest import key_of, object_at, objects_at, text_at, uid_of
from pillion_operator.state.names import (
    REVISION_ANNOTATION,
    models_config_name,
    revision_name,
    runtime_config_name,
)
from pillion_operator.state.plan import Child

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Desired
    from pillion_operator.state.policies import NamespaceRules

__all__ = ["revision_manifest", "with_former_models", "with_kept"]


def revision_manifest(service: Manifest, desired: Desired, number: int, annotations: dict[str, str]) -> JsonObject:
    """Return the ControllerRevision of the revision that the plan is of. Source: apps/v1 ControllerRevision."""
    name = key_of(service).name
    deployment = first_of(desired, DEPLOYMENT)
    data: JsonObject = {
        "predictor": object_at(service, "spec", "predictor"),
        "template": object_at(deployment, "spec", "template"),
        "service": of_both(object_at(first_of(desired, SERVICE), "spec")),
    }
    config = runtime_config(desired, name)
    if config:
        data["config"] = config
    return {
        "apiVersion": CONTROLLER_REVISION.api_version,
        "kind": CONTROLLER_REVISION.name,
        "metadata": {
            **object_at(deployment, "metadata"),
            "name": revision_name(name, desired.revision),
            "annotations": {REVISION_ANNOTATION: desired.revision, **annotations},
        },
        "revision": number,
        "data": data,
    }


def with_kept(service: Manifest, desired: Desired, data: JsonObject) -> Desired:
    """Return the plan with the pods, their configuration, the Service and its addresses of a kept revision."""
    name = key_of(service).name
    children: list[Child] = []
    for child in desired.children:
        if child.kind is CONFIG_MAP and key_of(child.manifest).name == runtime_config_name(name):
            continue
        manifest = child.manifest
        if child.kind is DEPLOYMENT:
            manifest = manifest | {"spec": object_at(manifest, "spec") | {"template": object_at(data, "template")}}
        elif child.kind is SERVICE:
            manifest = manifest | {"spec": object_at(data, "service")}
        children.append(Child(child.kind, manifest))
    config = text_at(data, "config")
    if config:
        metadata = object_at(first_of(desired, DEPLOYMENT), "metadata") | {"name": runtime_config_name(name)}
        held: JsonObject = {
            "apiVersion": CONFIG_MAP.api_version,
            "kind": CONFIG_MAP.name,
            "metadata": metadata,
            "data": {CONFIG_FILE: config},
        }
        children.insert(0, Child(CONFIG_MAP, held))
    ports = {text_at(port, "name") for port in objects_at(data, "service", "ports")}
    host = urlsplit(desired.endpoints.url).hostname or ""
    reached = addresses(host, secure="https" in ports, grpc="grpc" in ports)
    return replace(desired, children=tuple(children), endpoints=reached)


def with_former_models(service: Manifest, desired: Desired, live: Manifest | None, rules: NamespaceRules) -> Desired:
    """Return the plan with the models that the manifest itself declared before, and declares none any more.

    Pods that are still to be replaced, or are gone back to, have nothing else to serve.

    Args:
        service: the InferenceService as stored.
        desired: the plan.
        live: the ConfigMap of the models that pods are told of, as it is.
        rules: the namespace's policies, which hold for these models too.
    """
    if not desired.complete or desired.models:
        return desired
    name = models_config_name(key_of(service).name)
    at = {key_of(child.manifest).name: child for child in desired.children if child.kind is CONFIG_MAP}
    planned = models_in(at[name].manifest if name in at else None)
    taken = {model.name for model in planned}
    # By their ids: those of Model objects begin with another uid.
    former = [
        policed_model(model, rules)
        for model in models_in(live)
        if model.id.startswith(f"{uid_of(service)}/") and model.name not in taken
    ]
    if not former:
        return desired
    text = dump((*former, *planned)[-max(MOST_MODELS, len(planned)) :])
    held: JsonObject = {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.name,
        "metadata": object_at(first_of(desired, DEPLOYMENT), "metadata") | {"name": name},
        "data": {MODELS_FILE: text},
    }
    others = (child for child in desired.children if child is not at.get(name))
    return replace(desired, children=(Child(CONFIG_MAP, held), *others), models_digest=digest_of(text))
