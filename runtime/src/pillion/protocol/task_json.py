"""Tasks as JSON: the flat object of keyword arguments, the envelope of the caikit family, and results.

Flat: ``{"text": "good", "top_k": 1}``. Envelope: ``{"model_id", "inputs", "parameters"}``, where ``inputs`` is the bare
value for a task with one required parameter and else an object, and ``parameters`` holds the rest.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import orjson
from pydantic import ValidationError

from pillion.authoring.file import File
from pillion.authoring.files import as_json
from pillion.authoring.unions import Chosen
from pillion.errors import ErrorCode, InvalidArguments, PillionError
from pillion.json_values import document_bytes, json_bytes
from pillion.protocol.task_paths import located, path_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from pillion.authoring.signature import TaskSignature

__all__ = [
    "Envelope",
    "arguments_of",
    "decode_arguments",
    "encode_document",
    "encode_result",
    "envelope_of",
    "invalid_arguments",
    "open_envelope",
]

_SHOWN: Final = 5
_FIELDS: Final = frozenset({"model_id", "inputs", "parameters"})
_UNREAD: Final = frozenset({"inputs", "parameters"})
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Envelope:
    """The body of ``POST /api/v1/task/{task}``, opened: which model, and what for."""

    model: str | None
    inputs: Any
    parameters: dict[str, Any]

    def arguments(self, signature: TaskSignature, files: Mapping[str, File] | None = None) -> dict[str, Any]:
        """Validated, by the names of the signature; ``files`` by the texts that stand for them.

        Raises:
            InvalidArguments: with the path of each field.
        """
        required = [parameter.name for parameter in signature.parameters if parameter.required]
        if len(required) == 1:
            given = {} if self.inputs is None else {required[0]: self.inputs}
        elif self.inputs is None or isinstance(self.inputs, dict):
            given = self.inputs or {}
        else:
            raise _not_an_object("inputs", f"the task takes {signature.names}")
        twice = sorted(given.keys() & self.parameters.keys())
        if twice:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT, f"parameters.{twice[0]}: it is in inputs, too", field=twice[0]
            )
        return arguments_of(signature, _joined(given | self.parameters), files)


def open_envelope(body: bytes | memoryview) -> Envelope:
    """Read the body.

    Raises:
        PillionError: not JSON, or not of that form.
    """
    try:
        fields = _fields(body)
    except (RecursionError, msgspec.DecodeError, UnicodeDecodeError, orjson.JSONDecodeError):
        try:
            fields = orjson.loads(body)  # which says what is wrong, as for every body
        except orjson.JSONDecodeError as error:
            raise _malformed(error) from error
    return envelope_of(fields)


def _fields(body: bytes | memoryview) -> dict[str, Any]:
    found = _OBJECT.decode(body)
    return {name: _unread(raw) if name in _UNREAD else orjson.loads(bytes(raw)) for name, raw in found.items()}


def _unread(raw: msgspec.Raw) -> Any:  # noqa: ANN401 - JSON
    """A value as it was sent, an object by its fields: what validates arguments reads it, and nobody before that.

    Reading it twice would take its time, and make a float of an integer of more than 64 bits.
    """
    start = bytes(memoryview(raw)[:5])
    if start.startswith(b"{"):
        return _OBJECT.decode(raw)
    return None if start == b"null" else raw


def _joined(document: dict[str, Any]) -> bytes:
    parts = [b"{"]
    for name, value in document.items():
        parts += (orjson.dumps(name), b":", _written(value), b",")
    parts[-1 if len(parts) > 1 else 1 :] = [b"}"]  # for the last comma
    return b"".join(parts)


def _written(value: Any) -> bytes | msgspec.Raw:  # noqa: ANN401 - JSON, or what :func:`_unread` gave
    if isinstance(value, msgspec.Raw):
        return value
    if isinstance(value, dict) and any(isinstance(one, msgspec.Raw) for one in value.values()):
        return _joined(value)
    return document_bytes(value)


def envelope_of(document: Any) -> Envelope:  # noqa: ANN401 - JSON
    """Open a document.

    Raises:
        PillionError: not of that form.
    """
    if not isinstance(document, dict):
        raise _not_an_object("body", "send {'inputs': ..., 'parameters': {...}}")
    unknown = sorted(document.keys() - _FIELDS)
    if unknown:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"{unknown[0]}: there is no such field; there are: model_id, inputs, parameters",
            field=unknown[0],
            remedy="flat arguments go to POST /{task}",
        )
    parameters = document.get("parameters")
    if parameters is None:
        parameters = {}
    elif not isinstance(parameters, dict):
        raise _not_an_object("parameters", "send an object")
    model = document.get("model_id")
    if model is not None and not isinstance(model, str):
        raise PillionError(ErrorCode.INVALID_ARGUMENT, "model_id: should be text", field="model_id")
    return Envelope(model or None, document.get("inputs"), parameters)


def decode_arguments(signature: TaskSignature, body: bytes | memoryview) -> dict[str, Any]:
    """The arguments that a flat object gives; those left out keep the defaults of the signature.

    Raises:
        PillionError: not JSON.
        InvalidArguments: with the path of each field.
    """
    if not len(body):
        body = b"{}"  # a task without required parameters needs no body
    return arguments_of(signature, bytes(body))


def arguments_of(signature: TaskSignature, document: bytes, files: Mapping[str, File] | None = None) -> dict[str, Any]:
    """The same; ``files`` by the texts that stand for them in the document.

    Raises:
        PillionError: not JSON.
        InvalidArguments: with the path of each field.
    """
    try:
        return signature.arguments.validate_json(document, context=files)
    except ValidationError as error:
        raise invalid_arguments(error, signature) from None


def invalid_arguments(error: ValidationError, signature: TaskSignature) -> PillionError:
    """What pydantic found, as sentences that start with the field's path."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return _malformed(details[0]["msg"].removeprefix("Invalid JSON: "))
    if details[0]["loc"] == () and details[0]["type"] == "dict_type":
        return _not_an_object("body", f"its fields are: {signature.names}")
    problems = []
    for detail in details:
        keys, tried = located(detail["loc"], signature)
        message = _sentence(detail, signature)
        problems.append({"loc": keys, "msg": f"{message} (as {tried})" if tried else message, "type": detail["type"]})
    sentences = [f"{path_text(problem['loc'])}: {problem['msg']}" for problem in problems]
    more = f"; and {len(sentences) - _SHOWN} more" if len(sentences) > _SHOWN else ""
    message = f"{'; '.join(sentences[:_SHOWN])}{more}"
    return InvalidArguments(message, field=path_text(problems[0]["loc"]), problems=problems)


def _sentence(detail: ErrorDetails, signature: TaskSignature) -> str:
    top = len(detail["loc"]) == 1
    match detail["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden" if top:
            return f"task {signature.name!r} has no such parameter; it has: {signature.names}"
        case "extra_forbidden":
            return "there is no such field"
        case "union_tag_not_found":
            return f"has no {detail['msg'].partition('discriminator ')[2]}, which says what it is"
        case "union_tag_invalid":
            return f"should be one of {detail['msg'].rpartition('expected tags: ')[2]} by its tag"
        case "value_error" | "assertion_error":
            return detail["msg"].partition(", ")[2] or detail["msg"]
        case _:
            return detail["msg"].removeprefix("Input ")


def _malformed(why: object) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"the body is not valid JSON: {why}", field="body")


def _not_an_object(field: str, remedy: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: should be a JSON object", field=field, remedy=remedy)


def encode_result(value: Any) -> bytes:  # noqa: ANN401 - plain data
    """A plain value as JSON: arrays as nested lists, bytes as base64, times in ISO 8601, integers of any size.

    Raises:
        PillionError: ``MODEL_FAILED``: what JSON cannot carry.
    """
    try:
        return json_bytes(value, _encoded, orjson.OPT_SERIALIZE_NUMPY)
    except (RecursionError, TypeError, ValueError) as error:
        reason = error.__cause__ or error
        raise PillionError(ErrorCode.MODEL_FAILED, f"the result cannot be written as JSON: {reason}") from None


def encode_document(value: Any) -> bytes:  # noqa: ANN401 - plain data
    """What a client sent in another form than JSON, as JSON in one order of keys.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: what JSON cannot carry.
    """
    try:
        return json_bytes(value, _encoded, orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS)
    except (RecursionError, TypeError, ValueError) as error:
        reason = error.__cause__ or error
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT, f"what was sent cannot be kept as JSON: {reason}", field="parameters"
        ) from None


def _encoded(value: Any) -> Any:  # noqa: ANN401 - what orjson does not know
    if isinstance(value, Chosen):
        return value.value
    if isinstance(value, File):
        return as_json(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no type that JSON knows")
