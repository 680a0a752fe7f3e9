"""What is allowed and risky in a manifest: what the chart's admission policies warn of, without a cluster.

The policies say the same in CEL (`scripts/chart/admission.py`); a test holds both to the same verdict on the same
manifests. They see one object and nothing beside it: neither the runtime that is chosen nor a LimitRange.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pillion.resources.component import FORMAT_SHORTHANDS
from pillion.resources.documents import read_documents
from pillion.resources.validation import Problem, model_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion.resources.rules import FieldPath

__all__ = ["FLOATING_IMAGE", "IMAGE", "MEMORY", "UNVERIFIED", "risks", "risks_of"]

MEMORY: Final = "no memory limit: what grows here can take the memory of the whole node; set resources.limits.memory"
IMAGE: Final = (
    "the image has no tag or the tag latest, so pods that start later can run something else; "
    "name a version or a digest"
)
UNVERIFIED: Final = (
    "files from a web server without digest: whoever answers decides what is loaded; "
    "set digest, or take the URI and digest that pillion push prints"
)
#: An image that has neither tag nor digest, or the tag `latest`.
FLOATING_IMAGE: Final = "^([^@]*/)?[^:@/]+(:latest)?$"
_COMPONENTS: Final = ("predictor", "transformer", "explainer")
_MODELS: Final = (*FORMAT_SHORTHANDS, "model")


def risks(text: str, *, source: str = "") -> list[Problem]:
    """Return what is risky in the documents of a text that :func:`~pillion.resources.validation.validate` accepts."""
    return [
        Problem(message=message, path=path, line=document.line_of(path), source=source)
        for document in read_documents(text)
        for path, message in risks_of(document.content)
    ]


def risks_of(content: JsonValue) -> list[tuple[FieldPath, str]]:
    """Return the fields of one object that are risky, each with what is wrong and what to do."""
    if model_of(content) is None:
        return []
    assert isinstance(content, dict)  # noqa: S101 - only objects have a model
    spec = _object(content, "spec")
    match content["kind"]:
        case "InferenceService":
            return [*_of_service(spec)]
        case "Model":
            return [*_unverified(("spec",), spec)]
        case "ServingRuntime" | "ClusterServingRuntime":
            return [*_floating(_containers(("spec",), spec, "containers"))]
        case "TrainingJob":
            data = _unverified(("spec", "dataset"), _object(spec, "dataset"), "uri")
            return [*_unlimited([(("spec",), spec)]), *_floating([(("spec",), spec)]), *data]
        case "BatchPrediction":
            model = _unverified(("spec", "model"), _object(spec, "model"))
            return [*_unlimited([(("spec",), spec)]), *model]
    return []


_Part = tuple["FieldPath", "JsonObject"]
_Risk = tuple["FieldPath", str]


def _of_service(spec: JsonObject) -> Iterator[_Risk]:
    predictors: list[_Part] = [(("spec", "predictor"), _object(spec, "predictor"))]
    predictors += [
        (("spec", "canary", index, "predictor"), _object(canary, "predictor"))
        for index, canary in enumerate(_objects(spec, "canary"))
    ]
    components: list[_Part] = [(("spec", name), _object(spec, name)) for name in _COMPONENTS if name in spec]
    models: list[_Part] = [
        ((*path, name), _object(predictor, name))
        for path, predictor in predictors
        for name in _MODELS
        if name in predictor
    ]
    containers, first = (
        [part for path, component in components for part in _containers(path, component, field)]
        for field in ("containers", "initContainers")
    )
    whole = [path for path, component in (*predictors, *components) if _is_limited(component)]
    asked = [
        (path, part)
        for path, part in (*models, *containers)
        # A runtime that is named may bring limits, and those of the pod are for all its containers.
        if "runtime" not in part and not any(path[: len(one)] == one for one in whole)
    ]
    yield from _unlimited(asked)
    yield from _floating([*models, *containers, *first])
    for path, model in models:
        if model.get("runtimeVersion") == "latest":
            yield (*path, "runtimeVersion"), IMAGE
    for path, model in models:
        yield from _unverified(path, model)
    predictor = predictors[0][1]
    for index, named in enumerate(_objects(predictor, "models")):
        yield from _unverified(("spec", "predictor", "models", index), named)
    if any(_is_of_the_web(_text(one, "uri")) for one in _objects(predictor, "storageUris")):
        yield ("spec", "predictor", "storageUris"), UNVERIFIED


def _unlimited(parts: list[_Part]) -> Iterator[_Risk]:
    return ((path, MEMORY) for path, part in parts if not _is_limited(part))


def _floating(parts: list[_Part]) -> Iterator[_Risk]:
    return (((*path, "image"), IMAGE) for path, part in parts if re.fullmatch(FLOATING_IMAGE, _text(part, "image")))


def _unverified(path: FieldPath, holder: JsonObject, field: str = "storageUri") -> Iterator[_Risk]:
    if _is_of_the_web(_text(holder, field)) and "digest" not in holder:
        yield (*path, field), UNVERIFIED


def _is_of_the_web(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _is_limited(part: JsonObject) -> bool:
    return "memory" in _object(_object(part, "resources"), "limits")


def _containers(path: FieldPath, holder: JsonObject, field: str) -> list[_Part]:
    return [((*path, field, index), container) for index, container in enumerate(_objects(holder, field))]


def _object(holder: JsonObject, field: str) -> JsonObject:
    found = holder.get(field)
    return found if isinstance(found, dict) else {}


def _objects(holder: JsonObject, field: str) -> list[JsonObject]:
    found = holder.get(field)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _text(holder: JsonObject, field: str) -> str:
    found = holder.get(field)
    return found if isinstance(found, str) else ""
