"""The InferenceService of ours that stands for one of KServe: what `pillion convert` makes of it, with an owner."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import msgspec

from pillion.resources.component import FORMAT_SHORTHANDS
from pillion.resources.conventions import KSERVE_PREFIX
from pillion.resources.conversion.objects import convert_object
from pillion.resources.conversion.remarks import Subject
from pillion.resources.conversion.runtimes import runtime_facts
from pillion_operator.state.kinds import KSERVE_INFERENCE_SERVICE
from pillion_operator.state.kserve import MODEL_MESH
from pillion_operator.state.manifest import (
    annotations_of,
    copied,
    key_of,
    labels_of,
    object_at,
    text_at,
    texts_at,
    uid_of,
    value_at,
)
from pillion_operator.state.names import (
    ALLOW_PICKLE_ANNOTATION,
    BUILTIN_LABEL,
    CONVERTED_ANNOTATION,
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    MANAGED_LABEL,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

    from pillion.resources import JsonObject
    from pillion.resources.conversion import Remark
    from pillion_operator.state.manifest import Manifest

__all__ = ["KServeChild", "child_of", "is_as_applied", "stands_for"]

#: By these, tools know what they have applied; what they have not would be pruned by them.
_TOOLS: Final = (
    "applyset.kubernetes.io/",
    "argocd.argoproj.io/",
    "config.k8s.io/",
    "configmanagement.gke.io/",
    "configsync.gke.io/",
    "fleet.cattle.io/",
    "helm.sh/",
    "helm.toolkit.fluxcd.io/",
    "kapp.k14s.io/",
    "kubectl.kubernetes.io/",
    "kustomize.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "objectset.rio.cattle.io/",
)
_TOOLS_LABELS: Final = ("app.kubernetes.io/instance", MANAGED_BY_LABEL, MANAGED_LABEL)
_MODE: Final = f"{KSERVE_PREFIX}deploymentMode"


@dataclass(frozen=True, slots=True)
class KServeChild:
    """What an InferenceService of KServe becomes.

    Attributes:
        manifest: ours, to apply.
        removed: sentences about fields that there is no counterpart of here, each with its remedy.
        refused: why there can be none, empty where there can.
    """

    manifest: Manifest
    removed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def child_of(service: Manifest, runtimes: Iterable[Manifest]) -> KServeChild:
    """Return the InferenceService of ours for one of KServe.

    Args:
        service: KServe's, as stored.
        runtimes: the serving runtimes of ours that it may choose from. Those that come with the operator are known.
    """
    facts = runtime_facts(found for found in runtimes if BUILTIN_LABEL not in labels_of(found))
    converted = convert_object(_source(service), facts, None)
    remarks = [remark for _, remark in converted.remarks]
    manifest = converted.content
    manifest["metadata"] = _metadata(service, object_at(manifest, "metadata"))
    manifest = _consented(service, manifest)
    digest = hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()[:16]
    annotations = object_at(manifest, "metadata", "annotations") | {CONVERTED_ANNOTATION: digest}
    metadata = object_at(manifest, "metadata") | {"annotations": annotations}
    return KServeChild(
        {**manifest, "metadata": metadata},
        removed=_sentences(remarks, Subject.REMOVED),
        refused=_sentences(remarks, Subject.REFUSED),
    )


def is_as_applied(wanted: Manifest, live: Manifest) -> bool:
    """Whether the live object is what was applied last: neither the plan nor somebody else has changed it since.

    Nothing gives an InferenceService defaults, so its spec is exactly what was applied. Labels and annotations that
    others added are theirs.
    """
    labels, annotations = labels_of(wanted), annotations_of(wanted)
    return (
        value_at(wanted, "spec") == value_at(live, "spec")
        and labels.items() <= labels_of(live).items()
        and annotations.items() <= annotations_of(live).items()
    )


def stands_for(service: Manifest, child: Manifest) -> bool:
    """Whether the child was made here for an InferenceService of KServe with this name, this one or a former.

    An owner reference alone does not say so: whoever wants their own object to go with KServe's may set one.
    """
    if CONVERTED_ANNOTATION not in annotations_of(child):
        return False
    references = value_at(child, "metadata", "ownerReferences")
    return any(
        isinstance(owner, dict)
        and owner.get("apiVersion") == KSERVE_INFERENCE_SERVICE.api_version
        and owner.get("kind") == KSERVE_INFERENCE_SERVICE.name
        and owner.get("name") == key_of(service).name
        and owner.get("controller") is True
        for owner in (references if isinstance(references, list) else [])
    )


def _sentences(remarks: Iterable[Remark], subject: Subject) -> tuple[str, ...]:
    """Return those of a subject: which field, what of it, and what to do."""
    found = (remark for remark in remarks if remark.subject is subject)
    return tuple(
        f"{remark.field}{': ' if remark.field else ''}{remark.text}{'; ' if remark.remedy else ''}{remark.remedy}"
        for remark in found
    )


def _source(service: Manifest) -> JsonObject:
    """Return it without what is no part of what it asks for."""
    source = cast("JsonObject", _without_nulls(copied(service)))
    source.pop("status", None)
    source["apiVersion"], source["kind"] = KSERVE_INFERENCE_SERVICE.api_version, KSERVE_INFERENCE_SERVICE.name
    annotations = object_at(source, "metadata", "annotations")
    if annotations.get(_MODE) == MODEL_MESH:
        # It says that KServe's controller is to leave the object alone, and nothing to us.
        del annotations[_MODE]
    return source


def _without_nulls(value: JsonValue) -> JsonValue:
    """Clients in Go write fields that are not set as null; the API server takes them for absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _metadata(service: Manifest, converted: JsonObject) -> JsonObject:
    key = key_of(service)
    labels: JsonObject = {
        label: value
        for label, value in texts_at(converted, "labels").items()
        if label not in _TOOLS_LABELS and not label.startswith(_TOOLS)
    }
    annotations: JsonObject = {
        name: value
        for name, value in texts_at(converted, "annotations").items()
        if name != ALLOW_PICKLE_ANNOTATION and not name.startswith(_TOOLS)
    }
    owner: JsonObject = {
        "apiVersion": KSERVE_INFERENCE_SERVICE.api_version,
        "kind": KSERVE_INFERENCE_SERVICE.name,
        "name": key.name,
        "uid": uid_of(service),
        "controller": True,
        # To block the owner's deletion takes a right on KServe's objects that nothing else needs.
        "blockOwnerDeletion": False,
    }
    return {
        "namespace": key.namespace,
        "name": key.name,
        "labels": labels | {MANAGED_BY_LABEL: FIELD_MANAGER},
        "annotations": annotations,
        "ownerReferences": [owner],
    }


def _consented(service: Manifest, manifest: Manifest) -> Manifest:
    """Return it with the consent to pickles that KServe's schema has no field for."""
    if annotations_of(service).get(ALLOW_PICKLE_ANNOTATION) != "true":
        return manifest
    changed = copied(manifest)
    predictor = object_at(changed, "spec", "predictor")
    sources = predictor.get("storageUris")
    for name in ("model", *FORMAT_SHORTHANDS):
        model = predictor.get(name)
        if isinstance(model, dict) and (text_at(model, "storageUri") or "storage" in model or sources):
            model["allowPickle"] = True
    return changed
