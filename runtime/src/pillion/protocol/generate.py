"""The generate extension of the Open Inference Protocol: ``text_input`` and options in, ``text_output`` out.

Sources: Triton's generate extension (keys beside ``text_input`` are options, too; a stream is SSE of the same objects;
a failure in it is ``{"error": ...}``) and KServe's (options under ``parameters``; ``details.finish_reason``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from pillion.errors import ErrorCode
from pillion.protocol.generation import invalid, json_object, stops

if TYPE_CHECKING:
    from pillion.dataplane.completion import Completion
    from pillion.errors import PillionError

__all__ = ["GenerateRequest", "decode_generate", "encode_failure", "encode_final", "encode_piece", "encode_whole"]

_TEXT: Final = "text_input"


class GenerateRequest(msgspec.Struct):
    """One request."""

    text: str
    options: dict[str, Any]
    stops: tuple[str, ...] = ()
    id: str | None = None


def decode_generate(body: bytes | memoryview, *, streams: bool) -> GenerateRequest:
    """Read the body; ``streams`` says which route it came by.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` with the field.
    """
    document = json_object(body)
    text = document.pop(_TEXT, None)
    if not isinstance(text, str):
        raise invalid(_TEXT, "is missing" if text is None else "should be text")
    identity = document.pop("id", None)
    if identity is not None and not isinstance(identity, str):
        raise invalid("id", "should be text")
    parameters = document.pop("parameters", None)
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise invalid("parameters", "should be an object")
    twice = document.keys() & parameters.keys()
    if twice:
        raise invalid(min(twice), "it is in parameters, too")
    options = document | parameters
    stream = options.pop("stream", None)
    if stream not in (None, streams):
        raise invalid("stream", "POST .../generate answers at once, and POST .../generate_stream piece by piece")
    return GenerateRequest(text, options, stops(options.pop("stop", None)), identity)


def _answer(completion: Completion, request: GenerateRequest, text: str) -> dict[str, Any]:
    stream = completion.stream
    answer = {"model_name": stream.model, "model_version": stream.version, "text_output": text}
    if request.id is not None:
        answer["id"] = request.id
    return answer


def _details(completion: Completion) -> dict[str, Any]:
    details: dict[str, Any] = {"finish_reason": completion.reason}
    if completion.tokens is not None:
        details["prompt_tokens"], details["completion_tokens"] = completion.tokens
    return details


def encode_whole(completion: Completion, request: GenerateRequest, text: str) -> bytes:
    """The answer of ``/generate``."""
    return orjson.dumps(_answer(completion, request, text) | {"details": _details(completion)})


def encode_piece(completion: Completion, request: GenerateRequest, text: str) -> bytes:
    """A piece of a text."""
    return orjson.dumps(_answer(completion, request, text))


def encode_final(completion: Completion, request: GenerateRequest) -> bytes:
    """The last answer of a stream: no more text, and how it ended."""
    return orjson.dumps(_answer(completion, request, "") | {"details": _details(completion)})


def encode_failure(error: PillionError, request_id: str) -> bytes:
    """What a stream that has begun ends with when it fails."""
    code = ErrorCode(error.code).value
    return orjson.dumps({"error": str(error), "code": code, "id": request_id})
