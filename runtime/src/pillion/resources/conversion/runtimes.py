"""KServe's ServingRuntime and ClusterServingRuntime, `serving.kserve.io/v1alpha1`, as ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pillion.resources.conversion.remarks import Remark, Subject
from pillion.resources.conversion.services import BUILT_IN_FORMATS, BUILT_IN_PRIORITY, MODEL_CLASS, RuntimeFacts
from pillion.resources.honoured_runtime import unhonoured_runtime_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion.resources.servingruntime import ClusterServingRuntime, ServingRuntime, ServingRuntimeSpec

__all__ = ["RUNTIME_KINDS", "runtime_facts", "runtime_remarks"]

RUNTIME_KINDS: Final = ("ServingRuntime", "ClusterServingRuntime")

_ACTION: Final = re.compile(r"\{\{(.*?)\}\}")
_FILLED: Final = re.compile(r"\s*\.(Name|Namespace|(Labels|Annotations)\.[A-Za-z0-9._/-]+)\s*")
_LABEL: Final = re.compile(r"\{\{\s*\.Labels\.([A-Za-z0-9._/-]+)\s*\}\}")
#: KServe's own annotations for its proxy's scraping; ours are those that Prometheus' usual configuration reads.
_PROMETHEUS: Final = "prometheus.kserve.io/"


def runtime_facts(objects: Iterable[JsonObject]) -> RuntimeFacts:
    """Return what the serving runtimes among the objects serve, and which labels they refer to."""
    formats: dict[str, frozenset[str]] = {}
    labels: dict[str, frozenset[str]] = {}
    for content in objects:
        metadata, spec = content.get("metadata"), content.get("spec")
        if content.get("kind") not in RUNTIME_KINDS or not isinstance(metadata, dict) or not isinstance(spec, dict):
            continue
        name = str(metadata.get("name") or "")
        supported = spec.get("supportedModelFormats")
        entries = [entry for entry in supported if isinstance(entry, dict)] if isinstance(supported, list) else []
        formats[name] = frozenset(str(entry.get("name") or "").lower() for entry in entries)
        texts = [text for _, text in _texts(spec.get("containers"), "")]
        labels[name] = frozenset(label for text in texts for label in _LABEL.findall(text))
    return RuntimeFacts(formats, labels)


def runtime_remarks(runtime: ServingRuntime | ClusterServingRuntime) -> Iterator[Remark]:
    """Yield what is set and not acted on, and what the runtime will do to services that do not name it."""
    spec = runtime.spec
    yield from _chosen(runtime)
    for found in unhonoured_runtime_fields(spec):
        reason = found.reason or "it is ModelMesh's, and nothing acts on it"
        yield Remark(Subject.NO_EFFECT, reason, "remove the line", found.field)
    for address, text in _texts(_containers(spec), "spec.containers"):
        for action in _ACTION.findall(text):
            if not _FILLED.fullmatch(action):
                yield Remark(
                    Subject.NO_EFFECT,
                    f"the placeholder {{{{{action}}}}} is not filled in",
                    "use {{.Name}}, {{.Namespace}}, {{.Labels.x}} or {{.Annotations.x}}",
                    address,
                )
    labels = sorted({label for _, text in _texts(_containers(spec), "") for label in _LABEL.findall(text)})
    if labels:
        text = f"services that use the runtime need the label {' and '.join(labels)}"
        remedy = f"add it{', or convert them in one call with the runtime' if MODEL_CLASS in labels else ''}"
        yield Remark(Subject.HINT, text, remedy, "spec.containers")
    for key in spec.annotations or {}:
        if key.startswith(_PROMETHEUS):
            remedy = f'write prometheus.io/{key.removeprefix(_PROMETHEUS)} and prometheus.io/scrape: "true"'
            yield Remark(Subject.NO_EFFECT, "it is for KServe's proxy", remedy, f"spec.annotations[{key}]")


def _chosen(runtime: ServingRuntime | ClusterServingRuntime) -> Iterator[Remark]:
    """KServe's runtimes are chosen by themselves, and would take services away from the runtimes that come with us."""
    name, in_namespace = runtime.metadata.name or "", runtime.kind == "ServingRuntime"
    taken = [
        supported.name
        for supported in runtime.spec.supported_model_formats or []
        if supported.auto_select
        and supported.name.lower() in BUILT_IN_FORMATS
        and not runtime.spec.multi_model
        # As the operator ranks: the namespace first, then the greater priority, then the name.
        and (
            in_namespace
            or (-(supported.priority or 0), name) < (-BUILT_IN_PRIORITY, BUILT_IN_FORMATS[supported.name.lower()])
        )
    ]
    if taken and not runtime.spec.disabled:
        where = "of the namespace" if in_namespace else "of the whole cluster"
        text = f"it will be chosen for services {where} with the format {' or '.join(dict.fromkeys(taken))}"
        remedy = "if that is not meant, set autoSelect: false and name it in model.runtime where it is"
        yield Remark(Subject.HINT, f"{text} that name no runtime", remedy, "spec.supportedModelFormats")


def _containers(spec: ServingRuntimeSpec) -> list[JsonValue]:
    return [container.to_api() for container in spec.containers]


def _texts(value: JsonValue, address: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield address, value
        case list():
            for index, item in enumerate(value):
                yield from _texts(item, f"{address}[{index}]")
        case dict():
            for key, item in value.items():
                yield from _texts(item, f"{address}.{key}")
