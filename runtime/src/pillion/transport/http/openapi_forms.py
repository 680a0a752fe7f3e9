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
    if envelope:
        parts["model_id"] = {"type": "string", "description": "Only where several models have the task."}
    for parameter in signature.parameters:
        name = parameter.name
        if envelope:
            head = "inputs" if parameter.required else "parameters"
            name = head if parameter.required and len(needed) == 1 else f"{head}.{name}"
        inside = dict(_files(parameter.type, name))
        parts |= inside
        if name not in inside:
            parts[name] = properties[parameter.name]
        if parameter.required and (name in inside or not inside):
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": parts}
    return schema | {"required": required} if required else schema


def _files(declared: ValueType, name: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts that hold files, below a dotted name. Those in lists of records are base64 in JSON."""
    match declared:
        case FileOf() | Scalar(Kind.BYTES):
            yield name, BINARY
        case OptionalOf(item):
            yield from _files(item, name, depth)
        case ListOf(FileOf()):
            yield name, {"type": "array", "items": BINARY}
        case Record(fields=fields) if depth < 3:
            for field in fields:
                if not field.computed:
                    yield from _files(field.type, f"{name}.{field.key}", depth + 1)
