"""Open Inference Protocol over HTTP: decoding requests, JSON alone or with tensors as raw bytes behind it."""

from __future__ import annotations

import binascii
import math
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from pillion.dataplane.call import InferRequest
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.answer import JSON_ANSWER, output_form, wanted_classes
from pillion.protocol.json_errors import decode_json, named_input
from pillion.protocol.limits import CodecLimits
from pillion.protocol.parameters import check_parameters, refuse_shared_memory
from pillion.protocol.raw import RAW_ONLY, from_raw
from pillion.protocol.shape import element_count
from pillion.protocol.tensor_list import too_many_tensors, unique_names
from pillion.protocol.wire import UNREAD, infer_decoder
from pillion.tensors import Datatype, Tensor, dtype_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.dataplane.call import Parameters
    from pillion.protocol.answer import AnswerForm
    from pillion.protocol.wire import InferBody, InputBody

__all__ = ["OipJsonDecoder", "elements_from_json", "without_nulls"]

_BINARY_SIZE: Final = "binary_data_size"
_USUAL_DEPTH: Final = 4
"""Levels that the first decoder knows: a batch of images. Building one for all levels takes ten milliseconds."""


class OipJsonDecoder:
    """Decodes request bodies under one set of limits. Keeps no state between requests.

    Strict where a lenient reading would change numbers unseen: integers out of range, fractions where integers are
    asked, true for 1, strings for numbers, NaN and Infinity are all refused with the path of the value. Elements that
    are null are marked as missing; whether the model takes such is for the data plane to say. ``data`` is nested like
    ``shape`` or flat. FP16 and BF16 travel as binary data only. BYTES are strings, sent as UTF-8, or base64 where the
    input's parameters say ``content_type: base64``.
    """

    def __init__(self, limits: CodecLimits | None = None) -> None:
        self._limits = limits or CodecLimits()
        depth = min(self._limits.max_json_depth, _USUAL_DEPTH)
        decoder, self._datatypes = infer_decoder(depth, self._limits.max_string_bytes)
        self._decode = decoder.decode
        self._nullable: tuple[Callable[[bytes | memoryview], InferBody], dict[type[InputBody], Datatype]] | None = None

    def decode(
        self, body: bytes | memoryview, model: str, version: str | None = None, header_length: int | None = None
    ) -> tuple[InferRequest, AnswerForm]:
        """One request, and the form its answer should have.

        Args:
            body: the whole body. Arrays of binary tensors are views of it, so it must not change afterwards.
            model: from the URL.
            version: from the URL.
            header_length: value of ``Inference-Header-Content-Length``: bytes of JSON before the raw tensors.

        Raises:
            PillionError: ``INVALID_ARGUMENT`` naming the field; ``UNIMPLEMENTED`` for an extension not supported.
        """
        tail: memoryview | None = None
        if header_length is not None:
            body, tail = _split(body, header_length)
        try:
            document = self._decode(body)
        except Exception:  # noqa: BLE001  # decoded again, by who knows null and depth, and can say what is wrong and where
            document = self._decode_unusual(body)
            inputs = self._inputs(document, tail, nulls=True)
        else:
            plain = self._plain_inputs(document) if tail is None else None
            inputs = self._inputs(document, tail) if plain is None else plain
        outputs = document.outputs
        if document.parameters is not None:
            return self._with_options(document, inputs, model, version)
        if outputs is None:
            return InferRequest(model, inputs, version, document.id, (), {}), JSON_ANSWER
        if len(outputs) == 1 and outputs[0].parameters is None:
            return InferRequest(model, inputs, version, document.id, (outputs[0].name,), {}), JSON_ANSWER
        return self._with_options(document, inputs, model, version)

    def _decode_unusual(self, body: bytes | memoryview) -> InferBody:
        """The document with null for some elements, or with data nested deeper than usual.

        Raises:
            PillionError: ``INVALID_ARGUMENT``: that is not what is wrong with it.
        """
        if self._nullable is None:
            decoder, datatypes = infer_decoder(
                self._limits.max_json_depth, self._limits.max_string_bytes, nullable=True
            )
            self._nullable = decoder.decode, datatypes
            self._datatypes = self._datatypes | datatypes
        try:
            return decode_json(self._nullable[0], body)
        except PillionError as error:
            raise named_input(error, body) from error

    def _plain_inputs(self, document: InferBody) -> list[Tensor] | None:
        """The inputs if all are numbers in JSON and nothing is wrong or unusual; None leaves it to :meth:`_inputs`.

        That one repeats the work with a name for every field; this one is what a small request costs.
        """
        bodies = document.inputs
        tensors = []
        for body in bodies:
            datatype = self._datatypes[type(body)]
            dtype = _PLAIN.get(datatype)
            if dtype is None or body.parameters is not None or body.data is msgspec.UNSET:
                return None
            try:
                array = np.array(body.data, dtype)
            except (ValueError, OverflowError):
                return None
            shape = tuple(body.shape)
            if array.shape != shape:
                if array.ndim != 1 or array.size != math.prod(shape) or min(shape, default=1) <= 0:
                    return None
                array = array.reshape(shape)
            if not array.size or array.size > self._limits.max_elements:
                return None
            tensors.append(Tensor(body.name, datatype, array, {}))
        if len(tensors) > 1:
            unique_names(tuple(tensor.name for tensor in tensors), "inputs")
        return tensors if len(tensors) <= self._limits.max_tensors else None

    def _with_options(
        self, document: InferBody, inputs: list[Tensor], model: str, version: str | None
    ) -> tuple[InferRequest, AnswerForm]:
        parameters: Parameters = document.parameters or {}
        check_parameters(parameters)
        outputs = document.outputs or []
        if len(outputs) > self._limits.max_tensors:
            raise too_many_tensors("outputs", len(outputs), self._limits.max_tensors)
        names = tuple(output.name for output in outputs)
        unique_names(names, "outputs")
        asked = [(output.name, output.parameters or {}) for output in outputs]
        form = output_form(parameters, asked)
        request = InferRequest(model, inputs, version, document.id, names, parameters, wanted_classes(asked))
        return request, form

    def _inputs(self, document: InferBody, tail: memoryview | None, *, nulls: bool = False) -> list[Tensor]:
        bodies = document.inputs
        if len(bodies) > self._limits.max_tensors:
            raise too_many_tensors("inputs", len(bodies), self._limits.max_tensors)
        tensors: list[Tensor] = []
        offset = 0
        for index, body in enumerate(bodies):
            datatype = self._datatypes[type(body)]
            parameters = body.parameters
            if parameters is None:
                tensors.append(self._from_json(body, datatype, index, {}, nulls=nulls))
                continue
            refuse_shared_memory(parameters, f"inputs[{index}].parameters")
            if _BINARY_SIZE in parameters:
                size = parameters.pop(_BINARY_SIZE)
                data = self._from_tail(body, datatype, index, tail, offset, size)
                offset += int(size)
                tensors.append(Tensor(body.name, datatype, data, parameters))
            else:
                tensors.append(self._from_json(body, datatype, index, parameters, nulls=nulls))
        if tail is not None and offset != len(tail):
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"{len(tail)} bytes follow the JSON, the inputs account for {offset}",
                field="Inference-Header-Content-Length",
                remedy=f"each binary input states its size in parameters.{_BINARY_SIZE}",
            )
        if len(tensors) > 1:
            unique_names(tuple(tensor.name for tensor in tensors), "inputs")
        return tensors

    def _from_json(
        self, body: InputBody, datatype: Datatype, index: int, parameters: Parameters, *, nulls: bool
    ) -> Tensor:
        field = f"inputs[{index}]"
        if datatype in RAW_ONLY:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"{field}.datatype: {datatype} has no JSON form"
                if body.data is not UNREAD
                else f"{field}: has neither data nor parameters.{_BINARY_SIZE}",
                field=f"{field}.datatype",
                remedy="send the tensor as binary data, or as FP32",
            )
        if body.data is msgspec.UNSET:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"{field}.data: is missing",
                field=f"{field}.data",
                remedy=f"put the elements into data, or behind the JSON with parameters.{_BINARY_SIZE}",
            )
        count = element_count(body.shape, f"{field}.shape", self._limits.max_elements)
        encoded = parameters.get("content_type") == "base64"
        data, missing = without_nulls(body.data, datatype) if nulls else (body.data, None)
        array = elements_from_json(data, datatype, body.shape, count, f"{field}.data", base64=encoded)
        if missing is not None:
            missing = missing.reshape(array.shape)
        return Tensor(body.name, datatype, array, parameters, missing)

    def _from_tail(
        self, body: InputBody, datatype: Datatype, index: int, tail: memoryview | None, offset: int, size: object
    ) -> np.ndarray[Any, np.dtype[Any]]:
        field = f"inputs[{index}].parameters.{_BINARY_SIZE}"
        problem = None
        if tail is None:
            problem = "the request has no Inference-Header-Content-Length"
        elif body.data is not msgspec.UNSET and body.data is not UNREAD:
            problem = "the input has data as well"
        elif not isinstance(size, int) or isinstance(size, bool) or size < 0:
            problem = "must be a whole number of bytes"
        elif size > len(tail) - offset:
            problem = f"{size} bytes stated, {len(tail) - offset} are left in the body"
        if problem is not None or tail is None or not isinstance(size, int):
            raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {problem}", field=field)
        count = element_count(body.shape, f"inputs[{index}].shape", self._limits.max_elements)
        chunk = tail[offset : offset + size]
        return from_raw(chunk, datatype, body.shape, count, field, self._limits.max_string_bytes)


_FILL: Final[dict[Datatype, object]] = {
    Datatype.FP32: math.nan,
    Datatype.FP64: math.nan,
    Datatype.BOOL: False,
    Datatype.BYTES: "",
}
_PLAIN: Final = {datatype: dtype_of(datatype) for datatype in Datatype if datatype not in (Datatype.BYTES, *RAW_ONLY)}


def _split(body: bytes | memoryview, header_length: int) -> tuple[memoryview, memoryview]:
    """JSON and raw tensors.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: the header states more than there is.
    """
    if header_length > len(body):
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"Inference-Header-Content-Length: {header_length}, but the body has {len(body)} bytes",
            field="Inference-Header-Content-Length",
        )
    view = memoryview(body)
    return view[:header_length], view[header_length:]


def without_nulls(data: list[Any], datatype: Datatype) -> tuple[list[Any], np.ndarray[Any, np.dtype[np.bool_]] | None]:
    """The lists with NaN, 0, False or an empty text for each null, and where those were; None for nowhere."""
    flat: list[Any] = []
    if not _nulls(data, flat):
        return data, None
    missing = np.array([value is None for value in flat], np.bool_)
    return _filled(data, _FILL.get(datatype, 0)), missing


def _nulls(level: list[Any], flat: list[Any]) -> bool:
    """Whether there is a null in the nested lists, whose elements are gathered in ``flat``."""
    found = False
    for value in level:
        if isinstance(value, list):
            found = _nulls(value, flat) or found
        else:
            flat.append(value)
            found = found or value is None
    return found


def _filled(level: list[Any], fill: object) -> list[Any]:
    return [_filled(value, fill) if isinstance(value, list) else fill if value is None else value for value in level]


def elements_from_json(
    data: list[Any], datatype: Datatype, shape: list[int], count: int, field: str, *, base64: bool = False
) -> np.ndarray[Any, np.dtype[Any]]:
    """An array of ``shape`` from JSON lists whose element types have been checked, nested like ``shape`` or flat.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: ragged, the wrong number of elements, a UINT64 out of range, bad base64.
    """
    try:
        array: np.ndarray[Any, np.dtype[Any]] = np.array(data, dtype=dtype_of(datatype))
    except OverflowError as error:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT, f"{field}: a value is out of range for {datatype}", field=field
        ) from error
    except ValueError as error:
        raise _ragged(field) from error
    if datatype is Datatype.BYTES:
        _encode_strings(array, field, base64=base64)
    if array.shape != tuple(shape):
        if array.size != count:
            problem = f"{array.size} elements, but shape {shape} takes {count}"
        elif array.ndim != 1:
            problem = f"nested as {list(array.shape)}, but shape says {shape}"
        else:
            return array.reshape(shape)
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {problem}", field=field)
    return array


def _encode_strings(array: np.ndarray[Any, np.dtype[Any]], field: str, *, base64: bool) -> None:
    flat = array.reshape(-1)
    for index, value in enumerate(flat):
        if not isinstance(value, str):
            raise _ragged(field)
        try:
            flat[index] = binascii.a2b_base64(value, strict_mode=True) if base64 else value.encode()
        except ValueError as error:
            place = f"{field}[{index}]"
            kind = "base64" if base64 else "text that UTF-8 can carry"
            raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{place}: not valid {kind}", field=place) from error


def _ragged(field: str) -> PillionError:
    return PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"{field}: the lists inside differ in length or depth",
        field=field,
        remedy="nest data like shape, or send it flat in row-major order",
    )
