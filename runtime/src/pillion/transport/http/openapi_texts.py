"""The routes of language models in the OpenAPI document: only where a model generates or embeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.transport.http.openapi_events import event_stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.authoring.text import Embedder, Generator
    from pillion.authoring.values import ValueType

__all__ = ["OPENAI_ERROR", "describe_texts"]

OPENAI_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error", "code", "id"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "What is wrong, and what to do about it."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field that is wrong."},
                "code": {"type": "string"},
            },
        },
        "code": {"type": "string", "description": "The kind of error, stable across releases."},
        "id": {"type": "string", "description": "Id of the request, as in the logs."},
    },
}
_STATUSES: Final = {
    "400": "The request is wrong: the text names the field.",
    "404": "No such model.",
    "429": "The queue is full; see Retry-After.",
    "503": "Loading, failed to load, or draining; see Retry-After.",
    "504": "The deadline has passed.",
}
_TEXT: Final = {"type": "string"}
_STOP: Final = {
    "oneOf": [
        {"type": "null"},
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}},
    ]
}
_TEXTS: Final = {"oneOf": [_TEXT, {"type": "array", "minItems": 1, "items": _TEXT}]}
_FIELDS: Final[dict[str, Any]] = {
    "model": {"type": "string", "minLength": 1},
    "text_input": _TEXT,
    "prompt": _TEXTS,
    "input": _TEXTS,
    "messages": {
        "type": "array",
        "minItems": 1,
        "items": {"type": "object", "required": ["role"], "properties": {"role": _TEXT, "content": {}}},
    },
}
_OPENAI: Final = ("/v1", "/openai/v1")


def describe_texts(
    generators: Mapping[str, Generator], embedders: Mapping[str, Embedder], model: dict[str, Any]
) -> dict[str, Any]:
    """Paths; ``model`` is the parameter that names one in a path."""
    paths: dict[str, Any] = {}
    if generators:
        name, generator = next(iter(generators.items()))
        options = _options(generator.task.parameters, {"prompt", "messages", "parameters"})
        paths |= _generate(options, model)
        chats = next((known for known, one in generators.items() if one.messages), None)
        for base in _OPENAI:
            paths[f"{base}/completions"] = _texts("Continue a text", name, options, {"prompt": "once upon a time"})
            if chats is not None:
                messages = [{"role": "user", "content": "hello"}]
                paths[f"{base}/chat/completions"] = _texts(
                    "Answer a conversation", chats, options, {"messages": messages}
                )
    if embedders:
        body = {"model": next(iter(embedders)), "input": ["a text"]}
        fields = {"encoding_format": {"enum": ["float", "base64", None]}}
        for base in _OPENAI:
            paths[f"{base}/embeddings"] = _operation("Embed texts", body, fields, "openai", "OpenAIError")
    if paths:
        listed = {
            "summary": "The models",
            "tags": ["openai"],
            "responses": _responses(
                {"application/json": {"schema": {"$ref": "#/components/schemas/V1Models"}}}, "OpenAIError"
            ),
        }
        paths["/openai/v1/models"] = {"get": listed}
    return paths


def _generate(options: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    version = {"name": "version", "in": "path", "required": True, "schema": _TEXT, "example": "1"}
    paths: dict[str, Any] = {}
    body = {"text_input": "once upon a time"}
    # Options stand beside the text, too, as Triton's clients send them.
    stop = {"stop": _STOP}
    inside = {"type": ["object", "null"], "properties": options | stop, "additionalProperties": False}
    fields = {"id": {"type": ["string", "null"]}, "parameters": inside, **options, **stop}
    places = (("/v2/models/{model}", [model]), ("/v2/models/{model}/versions/{version}", [model, version]))
    for base, parameters in places:
        for verb, summary in (("generate", "Generate a text"), ("generate_stream", "Generate a text, piece by piece")):
            operation = _operation(summary, body, fields, "generate", "Error", streams=verb == "generate_stream")
            operation["post"]["parameters"] = parameters
            paths[f"{base}/{verb}"] = operation
    return paths


def _texts(summary: str, model: str, options: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    fields = {
        "stream": {"type": ["boolean", "null"]},
        "stream_options": {"type": ["object", "null"], "properties": {"include_usage": {"type": ["boolean", "null"]}}},
        "stop": _STOP,
        "n": {"type": ["integer", "null"], "minimum": 1},
    }
    body = {"model": model, **asked}
    return _operation(summary, body, {**options, **fields}, "openai", "OpenAIError", streams=None)


def _operation(
    summary: str,
    body: dict[str, Any],
    fields: dict[str, Any],
    tag: str,
    error: str,
    *,
    streams: bool | None = False,
) -> dict[str, Any]:
    """One POST; ``streams`` None where the request decides."""
    content: dict[str, Any] = {} if streams else {"application/json": {"schema": {"type": "object"}}}
    if streams is not False:
        content |= event_stream({"": {"type": "object"}}, "[DONE]" if error == "OpenAIError" else "")
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": list(body),
        "properties": {name: _FIELDS[name] for name in body} | fields,
    }
    return {
        "post": {
            "summary": summary,
            "tags": [tag],
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": body}}},
            "responses": _responses(content, error),
        }
    }


def _responses(content: dict[str, Any], error: str) -> dict[str, Any]:
    shape = {"application/json": {"schema": {"$ref": f"#/components/schemas/{error}"}}}
    errors = {status: {"description": text, "content": shape} for status, text in _STATUSES.items()}
    return {"200": {"description": "OK", "content": content}} | errors


def _options(parameters: Any, left_out: set[str]) -> dict[str, Any]:  # noqa: ANN401 - the signature's own
    from pillion.authoring.values import Kind, OptionalOf, Scalar  # noqa: PLC0415 - imported where there are tasks

    def schema(declared: ValueType) -> dict[str, Any]:
        if isinstance(declared, OptionalOf):
            return schema(declared.item)
        if isinstance(declared, Scalar) and declared.kind not in (Kind.BYTES, Kind.TIMESTAMP):
            return {"type": declared.kind.value}
        return {}

    return {one.name: schema(one.type) for one in parameters if one.name not in left_out}
