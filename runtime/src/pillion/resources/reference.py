"""The reference pages of the kinds, in Markdown, from the same models as the CRDs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pillion.resources.base import API_VERSION, ResourceModel
from pillion.resources.crd import KINDS, Kind
from pillion.resources.descriptions import class_description, field_descriptions
from pillion.resources.honoured import HONOURED_SCHEMES, INSTEAD, NOT_YET
from pillion.resources.inferenceservice import InferenceService
from pillion.resources.metadata import ObjectMeta
from pillion.resources.nearest import model_within
from pillion.resources.schema import EMBEDDED, StructuralSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.json_schema import JsonSchemaValue

_KUBERNETES = "This is Kubernetes' own type: its fields mean what they mean in a pod."


@dataclass(frozen=True, slots=True)
class Page:
    """A page about one kind, or about kinds that differ in their scope only."""

    file: str
    kinds: tuple[Kind, ...]


_BY_NAME = {kind.name: kind for kind in KINDS}

PAGES = (
    Page("inferenceservice.md", (_BY_NAME["InferenceService"],)),
    Page("servingruntime.md", (_BY_NAME["ServingRuntime"], _BY_NAME["ClusterServingRuntime"])),
    Page("model.md", (_BY_NAME["Model"],)),
    Page("trainingjob.md", (_BY_NAME["TrainingJob"],)),
    Page("batchprediction.md", (_BY_NAME["BatchPrediction"],)),
)


def reference_page(page: Page) -> str:
    """Return the page as Markdown."""
    return "\n".join([*_head(page), *_not_yet(page), *_sections(page)]).rstrip() + "\n"


def _head(page: Page) -> Iterator[str]:
    yield f"# {' and '.join(kind.name for kind in page.kinds)}"
    yield ""
    yield "<!-- Generated from runtime/src/pillion/resources by 'make generate'. Do not edit. -->"
    for kind in page.kinds:
        yield ""
        yield f"**{kind.name}** (`{kind.short_name}`): {class_description(kind.model)}"
        yield f"It belongs to {'a namespace' if kind.namespaced else 'the cluster'}."
    yield ""
    yield f"`apiVersion: {API_VERSION}`. `kubectl get pillion` lists the objects of every kind of Pillion."
    yield ""
    yield "| column | where it comes from |"
    yield "|---|---|"
    for column in page.kinds[0].columns:
        yield f"| {column.name}{' (`-o wide`)' if column.priority else ''} | `{_cell(column.path)}` |"


def _not_yet(page: Page) -> Iterator[str]:
    if page.kinds[0].model is not InferenceService:
        return
    schemes = ", ".join(f"`{scheme}`" for scheme in sorted(HONOURED_SCHEMES))
    yield ""
    yield "## Accepted, and without effect in this release"
    yield ""
    yield (
        "These fields, with all that is inside them, are accepted so that manifests need no change later. Where one is "
        "set, the condition `FieldsHonoured` is false and names it. So are "
        f"storage URIs of other schemes than {schemes}."
    )
    yield ""
    for field in sorted(NOT_YET):
        yield f"- `spec.{field}`" + (f": {INSTEAD[field]}" if field in INSTEAD else "")


def _sections(page: Page) -> Iterator[str]:
    for model in reachable(page.kinds[0].model):
        yield ""
        yield f"## {_title(model, page)}"
        yield ""
        yield class_description(model) if model is not page.kinds[0].model else "The object as a whole."
        if model.__module__ in EMBEDDED:
            yield _KUBERNETES
        if model.rules:
            yield ""
            yield "The API server refuses, with these words:"
            yield ""
            yield from (f"- {rule.message}" for rule in model.rules)
        yield ""
        yield "| field | type | meaning |"
        yield "|---|---|---|"
        yield from _rows(model)


def _title(model: type[ResourceModel], page: Page) -> str:
    return " and ".join(kind.name for kind in page.kinds) + ": fields" if _is_root(model, page) else model.__name__


def _is_root(model: type[ResourceModel], page: Page) -> bool:
    return model is page.kinds[0].model


def reachable(root: type[ResourceModel]) -> list[type[ResourceModel]]:
    """Return the models in the order in which a reader meets them, each once."""
    found = [root]
    for model in found:
        inside = (model_within(field.annotation) for field in model.model_fields.values())
        found.extend(inner for inner in inside if inner is not None and inner is not ObjectMeta and inner not in found)
    return list(dict.fromkeys(found))


def _rows(model: type[ResourceModel]) -> Iterator[str]:
    schema = model.model_json_schema(by_alias=True, schema_generator=StructuralSchema)
    required = schema.get("required", [])
    described = field_descriptions(model)
    for name, field in model.model_fields.items():
        alias = field.alias or name
        inner = model_within(field.annotation)
        kind = _type(schema["properties"][alias], None if inner is ObjectMeta else inner)
        needed = " *" if alias in required else ""
        meaning = described.get(name) or _COMMON.get(alias, "")
        rules = "".join(f" {_sentence(rule['message'])}" for rule in _own_rules(schema["properties"][alias], inner))
        yield f"| `{alias}`{needed} | {kind} | {_cell(meaning + rules)} |"


_COMMON = {
    "apiVersion": f"`{API_VERSION}`.",
    "kind": "The kind.",
    "metadata": "Standard object metadata.",
}


def _own_rules(schema: JsonSchemaValue, inner: type[ResourceModel] | None) -> list[dict[str, str]]:
    """Return the rules of a text field; those of objects stand in their own section."""
    rules: list[dict[str, str]] = [] if inner is not None else schema.get("x-kubernetes-validations", [])
    return rules


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _type(schema: JsonSchemaValue, inner: type[ResourceModel] | None) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity" if "pattern" in schema else "integer or text"
    match schema:
        case {"enum": values}:
            return " \\| ".join(f"`{value}`" if value else "empty" for value in values)
        case {"type": "array", "items": items}:
            return f"list of {_type(items, inner)}{_bounds(schema)}"
        case {"type": "object", "additionalProperties": {} as values}:
            return f"map of {_type(values, inner)}"
        case {"type": "object"} if inner is not None:
            return f"[{inner.__name__}](#{inner.__name__.lower()})"
        case {"type": "string"}:
            return f"text{_bounds(schema)}"
    return f"{schema['type']}{_bounds(schema)}"


def _bounds(schema: JsonSchemaValue) -> str:
    match schema:
        case {"minimum": least, "maximum": most}:
            return f", {least} to {most}"
        case {"minimum": least}:
            return f", at least {least}"
        case {"maxLength": most}:
            return f", up to {most} characters"
        case {"maxItems": most}:
            return f", up to {most}"
    return ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
