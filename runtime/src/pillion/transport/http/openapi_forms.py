"""The form of a task in the OpenAPI document: a part for each parameter, and one for each file inside of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.values import FileOf, Kind, ListOf, OptionalOf, Record, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.values import ValueType

__all__ = ["BINARY", "form_schema"]

BINARY: Final[dict[str, Any]] = {"type": "string", "format": "binary"}


def form_schema(signature: TaskSignature, properties: dict[str, Any], *, envelope: bool = False) -> dict[str, Any]:
    """The schema of ``multipart/form-data``.

    Args:
        signature: of the task.
        properties: JSON schemas of its parameters.
        envelope: whether names begin with ``inputs`` and ``parameters``.
    """
    needed = [parameter.name for parameter in signature.parameters if parameter.required]
    parts: dict[str, Any] = {}
    required: list[str] = []
    either: list[dict[str, Any]] = []
    if envelope:
        parts["model_id"] = {"type": "string", "description": "Only where several models have the task."}
    for parameter in signature.parameters:
        name = parameter.name
        if envelope:
            head = "inputs" if parameter.required else "parameters"
            name = head if parameter.required and len(needed) == 1 else f"{head}.{name}"
        inside = dict(_files(parameter.type, name)) | dict(_fields(parameter.type, name))
        parts |= inside
        if name not in inside:
            parts[name] = _without_null(properties[parameter.name])
        if parameter.required and inside.keys() - {name}:  # as a whole, or field by field
            either.append({"anyOf": [{"required": [one]} for one in (name, *inside)]})
        elif parameter.required:
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": parts, "additionalProperties": False}
    if either:
        schema["allOf"] = either
    return schema | {"required": required} if required else schema


def _fields(declared: ValueType, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts that are fields of a record which hold no files: text, or JSON."""
    match declared:
        case OptionalOf(item):
            yield from _fields(item, name)
        case Record(fields=fields):
            for field in fields:
                part = f"{name}.{field.key}"
                if not field.computed and not dict(_files(field.type, part)):
                    yield part, {}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A part of a form is text: what is not there is left out."""
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return schema | {"anyOf": kinds} if kinds else schema


def _files(declared: ValueType, name: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts that hold files, below a dotted name. Those in lists of records are base64 in JSON."""
    match declared:
        case FileOf() | Scalar(Kind.BYTES):
            yield name, BINARY
        case OptionalOf(item):
            yield from _files(item, name, depth)
        case ListOf(FileOf() | Scalar(Kind.BYTES) | OptionalOf(FileOf() | Scalar(Kind.BYTES))):
            yield name, {"type": "array", "items": BINARY}
        case Record(fields=fields) if depth < 3:
            for field in fields:
                if not field.computed:
                    yield from _files(field.type, f"{name}.{field.key}", depth + 1)
