"""Tasks in the OpenAPI document: each with its own request and response schema, from the signature."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from pillion.authoring.examples import example
from pillion.authoring.values import FileOf
from pillion.transport.http.openapi_events import event_stream
from pillion.transport.http.openapi_forms import BINARY, form_schema

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.dataplane.tasks import ServedTask

__all__ = ["TASK_ERROR", "TEMPLATE", "describe_tasks", "exact", "example_arguments", "renamed", "task_errors"]

PREFIX: Final = "#/components/schemas/"
TEMPLATE: Final = f"{PREFIX}{{model}}"
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
_ANY_FILE: Final = "application/octet-stream"
_ERROR: Final = {"$ref": "#/components/schemas/TaskError"}
_ERRORS: Final = {
    "400": "The model refuses the values.",
    "404": "No such task or model.",
    "413": "The body is too large.",
    "415": "The content type is neither JSON nor a form.",
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
    tasks = [task for task in tasks if task.signature.incoming is None]  # OpenAPI knows no WebSockets
    inputs: list[tuple[tuple[int, str], Any, TypeAdapter[Any]]] = []
    for index, task in enumerate(tasks):
        inputs.append(((index, "arguments"), "validation", task.signature.arguments))
        inputs.append(((index, "result"), "serialization", task.signature.answer))
    found, definitions = TypeAdapter.json_schemas(inputs, ref_template=TEMPLATE)
    found, definitions = exact(found), exact(definitions)
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
        properties = _properties(arguments, definitions.get("$defs", {}))
        flat = _operation(task, arguments, form_schema(signature, properties), result, example_arguments(signature))
        if holders[signature.name] == 1:
            paths[f"/{signature.name}"] = flat
        paths[f"/{task.model}/{signature.name}"] = flat
        envelope, shown = _envelope(task, properties)
        form = form_schema(signature, properties, envelope=True)
        path = f"/api/v1/task/{signature.name.replace('_', '-')}"
        paths[path] = _operation(task, envelope, form, result, shown)
    return paths, definitions.get("$defs", {})


def _properties(arguments: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    whole = definitions[arguments["$ref"].rpartition("/")[2]] if "$ref" in arguments else arguments
    found: dict[str, Any] = whole.get("properties", {})
    return found


def renamed(schema: Any, taken: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
    """The same with references to other names."""
    if isinstance(schema, dict):
        return {key: renamed(value, taken) for key, value in schema.items()}
    if isinstance(schema, str) and schema.startswith(PREFIX):  # a $ref, or what a discriminator maps to
        name = schema.removeprefix(PREFIX)
        return f"{PREFIX}{taken.get(name, name)}"
    return [renamed(item, taken) for item in schema] if isinstance(schema, list) else schema


def exact(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """The same, saying what pydantic leaves out.

    A union needs the field that tells which, though it may have a default in each of its classes; bytes in JSON are
    base64, under the names that OpenAPI 3.0 and 3.1 have for it.
    """
    if isinstance(schema, dict):
        told = {key: exact(value) for key, value in schema.items()}
        tag = schema.get("discriminator")
        if isinstance(tag, dict) and "propertyName" in tag and "oneOf" in schema:
            told["required"] = [tag["propertyName"]]
        if schema.get("contentEncoding") == "base64url":
            told["format"] = "base64url"
        elif schema.get("format") == "base64url" or schema.get("contentEncoding") == "base64":
            told |= {"format": "byte", "contentEncoding": "base64"}
        return told
    return [exact(item) for item in schema] if isinstance(schema, list) else schema


def _envelope(task: ServedTask, properties: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    required = [parameter.name for parameter in task.signature.parameters if parameter.required]
    shown: dict[str, Any] = example_arguments(task.signature)
    if len(required) == 1:
        inputs, value = properties[required[0]], shown[required[0]]
    else:
        fields = {name: properties[name] for name in required}
        inputs = {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
        value = shown
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["inputs"] if required else [],
        "properties": {
            "model_id": {"type": "string", "description": "Only where several models have the task."},
            "inputs": inputs,
            "parameters": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": {name: schema for name, schema in properties.items() if name not in required},
            },
        },
    }
    return schema, {"inputs": value}


def _operation(
    task: ServedTask,
    body: dict[str, Any],
    form: dict[str, Any],
    result: Any,  # noqa: ANN401 - a JSON schema
    shown: dict[str, Any],
) -> dict[str, Any]:
    signature = task.signature
    operation: dict[str, Any] = {
        "summary": signature.summary or f"{signature.owner}.{signature.method}",
        "tags": [task.model],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": body, "example": shown},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {"200": _answered(signature, result)} | task_errors(),
    }
    if signature.description:
        operation["description"] = signature.description
    return {"post": operation}


def task_errors() -> dict[str, Any]:
    """The errors that every task may answer."""
    return {
        status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for status, text in _ERRORS.items()
    }


def _answered(signature: TaskSignature, result: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON schema
    if isinstance(signature.returns, FileOf) and not signature.streams:
        text = "The file, with its name in Content-Disposition."
        declared = signature.returns.media_type
        media = "*/*" if declared == _ANY_FILE else declared  # the file itself says its type, where the class does not
        return {"description": text, "content": {media: {"schema": BINARY}}}
    if not signature.streams:
        return {"description": "OK", "content": {"application/json": {"schema": result}}}
    text = "One event `message` an item; after a failure one event `error` ends it."
    return {"description": text, "content": event_stream({"message": result, "error": _ERROR})}
