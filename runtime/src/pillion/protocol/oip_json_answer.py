"""Open Inference Protocol over HTTP: encoding answers, as JSON alone or with tensors as raw bytes behind it.

JSON has no NaN and no infinities. Other servers write ``NaN`` (which most JSON parsers refuse) or ``null`` (which
hides whether the model said NaN, plus or minus infinity). Here such an answer is an error that names the output and
asks for it as binary data, which carries every value. It is the caller's to mend, hence ``INVALID_ARGUMENT``: the
request chose a form that cannot hold the answer.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from pillion.errors import ErrorCode, PillionError
from pillion.protocol.answer import JSON_ANSWER
from pillion.protocol.raw import RAW_ONLY, to_raw
from pillion.tensors import Datatype, Tensor, dtype_of

if TYPE_CHECKING:
    from pillion.dataplane.call import InferResponse
    from pillion.protocol.answer import AnswerForm

__all__ = ["encode_answer", "json_elements"]

_FLOATS: Final = frozenset({Datatype.FP32, Datatype.FP64})
_PLAIN: Final = frozenset(Datatype) - RAW_ONLY - {Datatype.BYTES}
_REMEDY: Final = "ask for it raw: outputs[].parameters.binary_data, or parameters.binary_data_output for all"


def encode_answer(response: InferResponse, form: AnswerForm) -> tuple[bytes, list[memoryview]]:
    """The JSON document and the raw tensors that follow it, in the order of the outputs.

    The raw parts are views of the outputs' memory. When there are none, the document is the whole body; else its
    length belongs into the ``Inference-Header-Content-Length`` header.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: an output cannot be said in JSON; the message names it and the remedy.
    """
    if form is JSON_ANSWER and not response.parameters:
        body = _plain(response)
        if body is not None:
            return body, []
    document: dict[str, Any] = {"model_name": response.model, "model_version": response.version}
    if response.id is not None:
        document["id"] = response.id
    if response.parameters:
        document["parameters"] = response.parameters
    outputs: list[dict[str, Any]] = []
    parts: list[memoryview] = []
    floats = False
    for tensor in response.outputs:
        output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.data.shape}
        parameters = tensor.parameters
        if form.is_binary(tensor.name):
            raw = to_raw(tensor.data, tensor.datatype)
            parts.append(raw)
            parameters = {**parameters, "binary_data_size": len(raw)}
        else:
            encoded = tensor.name in form.base64 or parameters.get("content_type") == "base64"
            output["data"] = json_elements(tensor, base64=encoded)
            floats = floats or tensor.datatype in _FLOATS
            if encoded:
                parameters = {**parameters, "content_type": "base64"}
        if parameters:
            output["parameters"] = parameters
        outputs.append(output)
    document["outputs"] = outputs
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes NaN and infinities as null, and nothing else here can be null: a search through the bytes is ten
    # times cheaper than asking numpy about every answer.
    if floats and b"null" in body:
        _refuse_not_finite(response, form)
    return body, parts


def _plain(response: InferResponse) -> bytes | None:
    """The document if every output is finite numbers and nothing is unusual; None leaves it to the general way."""
    outputs = []
    for tensor in response.outputs:
        data = tensor.data
        if tensor.datatype not in _PLAIN or tensor.parameters:
            return None
        outputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": data.shape, "data": data.ravel()})
    document = {"model_name": response.model, "model_version": response.version, "outputs": outputs}
    if response.id is not None:
        document["id"] = response.id
    try:
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return None
    return None if b"null" in body else body


def json_elements(tensor: Tensor, *, base64: bool = False) -> np.ndarray[Any, np.dtype[Any]] | list[str]:
    """The elements, flat and in row-major order, as something orjson can write.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` for a datatype or content without a JSON form.
    """
    datatype = tensor.datatype
    if datatype is Datatype.BYTES:
        return _strings(tensor, base64=base64)
    if datatype in RAW_ONLY:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"output {tensor.name!r} is {datatype}, which has no JSON form",
            field="outputs",
            remedy=_REMEDY,
        )
    return np.ascontiguousarray(tensor.data, dtype=dtype_of(datatype)).reshape(-1)


def _strings(tensor: Tensor, *, base64: bool) -> list[str]:
    values = [item.encode() if isinstance(item, str) else bytes(item) for item in tensor.data.reshape(-1)]
    if base64:
        return [binascii.b2a_base64(value, newline=False).decode() for value in values]
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"output {tensor.name!r} holds bytes that are not UTF-8 text, which JSON cannot carry",
            field="outputs",
            remedy=f"{_REMEDY}, or as base64: outputs[].parameters.content_type",
        ) from error


def _refuse_not_finite(response: InferResponse, form: AnswerForm) -> None:
    for tensor in response.outputs:
        if form.is_binary(tensor.name) or tensor.datatype not in _FLOATS or np.isfinite(tensor.data).all():
            continue
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"output {tensor.name!r} holds NaN or Infinity, which JSON cannot carry",
            field="outputs",
            remedy=_REMEDY,
        )
