"""Tasks as JSON: the flat object of keyword arguments, the envelope of the caikit family, and results.

Flat: ``{"text": "good", "top_k": 1}``. Envelope: ``{"model_id", "inputs", "parameters"}``, where ``inputs`` is the bare
value for a task with one required parameter and else an object, and ``parameters`` holds the rest.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
from pydantic import ValidationError

from pillion.authoring.file import File
from pillion.authoring.files import as_json
from pillion.authoring.unions import Chosen
from pillion.errors import ErrorCode, InvalidArguments, PillionError
from pillion.protocol.task_paths import located, path_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from pillion.authoring.signature import TaskSignature

__all__ = [
    "Envelope",
    "arguments_of",
    "decode_arguments",
    "encode_result",
    "envelope_of",
    "invalid_arguments",
    "open_envelope",
]

_SHOWN: Final = 5
_FIELDS: Final = frozenset({"model_id", "inputs", "parameters"})


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
        return arguments_of(signature, orjson.dumps(given | self.parameters), files)


def open_envelope(body: bytes | memoryview) -> Envelope:
    """Read the body.

    Raises:
        PillionError: not JSON, or not of that form.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(error) from error
    return envelope_of(document)


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
    parameters = document.get("parameters") or {}
    if not isinstance(parameters, dict):
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


def encode_result(value: Any, *, sort: bool = False) -> bytes:  # noqa: ANN401 - plain data
    """A plain value as JSON: arrays as nested lists, bytes as base64, times in ISO 8601; with ``sort`` by sorted keys.

    Raises:
        PillionError: ``MODEL_FAILED``: what JSON cannot carry.
    """
    try:
        option = orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_SORT_KEYS if sort else 0)
        return orjson.dumps(value, default=_encoded, option=option)
    except (TypeError, ValueError) as error:
        reason = error.__cause__ or error
        raise PillionError(ErrorCode.MODEL_FAILED, f"the result cannot be written as JSON: {reason}") from None


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
