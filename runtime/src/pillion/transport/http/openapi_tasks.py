"""Tasks in the OpenAPI document: each with its own request and response schema, from the signature."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from pillion.authoring.results import example

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.dataplane.tasks import ServedTask

__all__ = ["TASK_ERROR", "TEMPLATE", "describe_tasks", "example_arguments", "renamed", "task_errors"]

TEMPLATE: Final = "#/components/schemas/{model}"
TASK_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["details", "code", "id"],
    "properties": {
        "details": {"type": "string", "description": "What is wrong, and what to do about it."},
        "code": {"type": "integer", "description": "The HTTP status."},
        "id": {"type": "string", "description": "Id of the request, as in the logs."},
        "additional_info": {
            "type": "array",
            "description": "Each field that does not fit, where fields are what is wrong.",
            "items": {
                "type": "object",
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
            },
        },
    },
}
_ERRORS: Final = {
    "400": "The model refuses the values.",
    "404": "No such task or model.",
    "413": "The body is too large.",
    "415": "The content type is not JSON.",
    "422": "The fields do not fit the signature: each is named.",
    "429": "The queue is full; see Retry-After.",
    "500": "The model's code failed.",
    "503": "Loading, failed to load, or draining; see Retry-After.",
    "504": "The deadline has passed.",
}


def example_arguments(signature: TaskSignature) -> dict[str, Any]:
    """A first call: every required parameter with a small value of its type."""
    return {p.name: example(p.type) for p in signature.parameters if p.required}


def describe_tasks(
    tasks: Sequence[ServedTask], reserved: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Paths and schemas.

    Types of one name that differ are qualified by pydantic; those that have a name of ours (``reserved``) here.
    """
    inputs: list[tuple[tuple[int, str], Any, TypeAdapter[Any]]] = []
    for index, task in enumerate(tasks):
        inputs.append(((index, "arguments"), "validation", task.signature.arguments))
        inputs.append(((index, "result"), "serialization", task.signature.answer))
    found, definitions = TypeAdapter.json_schemas(inputs, ref_template=TEMPLATE)
    taken = {name: f"User{name}" for name in definitions.get("$defs", {}) if name in reserved}
    if taken:
        found, definitions = renamed(found, taken), renamed(definitions, taken)
        definitions["$defs"] = {taken.get(name, name): schema for name, schema in definitions["$defs"].items()}
    paths: dict[str, Any] = {}
    holders = Counter(task.signature.name for task in tasks)
    for index, task in enumerate(tasks):
        arguments = found[(index, "arguments"), "validation"]
        result = found[(index, "result"), "serialization"]
        signature = task.signature
        flat = _operation(task, arguments, result, example_arguments(signature))
        if holders[signature.name] == 1:
            paths[f"/{signature.name}"] = flat
        paths[f"/{task.model}/{signature.name}"] = flat
        envelope, shown = _envelope(task, definitions.get("$defs", {}), arguments)
        paths[f"/api/v1/task/{signature.name.replace('_', '-')}"] = _operation(task, envelope, result, shown)
    return paths, definitions.get("$defs", {})


def renamed(schema: Any, taken: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
    """The same with references to other names."""
    if isinstance(schema, dict):
        return {
            key: TEMPLATE.format(model=taken.get(value.rpartition("/")[2], value.rpartition("/")[2]))
            if key == "$ref" and isinstance(value, str)
            else renamed(value, taken)
            for key, value in schema.items()
        }
    return [renamed(item, taken) for item in schema] if isinstance(schema, list) else schema


def _envelope(
    task: ServedTask, definitions: dict[str, Any], arguments: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    whole = arguments
    if "$ref" in arguments:
        whole = definitions[arguments["$ref"].rpartition("/")[2]]
    properties = whole.get("properties", {})
    required = [parameter.name for parameter in task.signature.parameters if parameter.required]
    shown: dict[str, Any] = example_arguments(task.signature)
    if len(required) == 1:
        inputs, value = properties[required[0]], shown[required[0]]
    else:
        fields = {name: properties[name] for name in required}
        inputs, value = {"type": "object", "properties": fields, "required": required}, shown
    schema = {
        "type": "object",
        "required": ["inputs"] if required else [],
        "properties": {
            "model_id": {"type": "string", "description": "Only where several models have the task."},
            "inputs": inputs,
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: schema for name, schema in properties.items() if name not in required},
            },
        },
    }
    return schema, {"inputs": value}


def _operation(task: ServedTask, body: Any, result: Any, shown: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - JSON schemas
    signature = task.signature
    operation: dict[str, Any] = {
        "summary": signature.summary or f"{signature.owner}.{signature.method}",
        "tags": [task.model],
        "requestBody": {
            "required": bool(shown),
            "content": {"application/json": {"schema": body, "example": shown}},
        },
        "responses": {"200": _answered(result, streams=signature.streams)} | task_errors(),
    }
    if signature.description:
        operation["description"] = signature.description
    return {"post": operation}


def task_errors() -> dict[str, Any]:
    """The errors that every task may answer."""
    return {
        status: {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TaskError"}}},
        }
        for status, text in _ERRORS.items()
    }


def _answered(result: Any, *, streams: bool) -> dict[str, Any]:  # noqa: ANN401 - a JSON schema
    if not streams:
        return {"description": "OK", "content": {"application/json": {"schema": result}}}
    text = "One event `message` an item, its data JSON of this schema; after a failure one event `error` ends it."
    return {"description": text, "content": {"text/event-stream": {"schema": result}}}
