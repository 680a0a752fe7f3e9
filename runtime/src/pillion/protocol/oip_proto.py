"""Open Inference Protocol over gRPC: between serialized messages and the data plane's values.

Answers are raw (``raw_output_contents``) when the request was raw, and typed when it was typed, so that a client gets
what it can read. An output of FP16 or BF16 has no typed form: then the whole answer is raw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from pillion.dataplane.call import InferRequest
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.answer import output_form, wanted_classes
from pillion.protocol.limits import CodecLimits
from pillion.protocol.parameters import check_parameters, refuse_shared_memory
from pillion.protocol.proto_wire import append_bytes_field, cut_bytes_field
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.protocol.raw import RAW_ONLY, from_raw, plain_from_raw, to_raw
from pillion.protocol.shape import element_count
from pillion.protocol.tensor_list import too_many_tensors, unique_names
from pillion.tensors import Datatype, Tensor, dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.dataplane.call import InferResponse, Parameters

__all__ = ["LARGE_MESSAGE", "RAW_INPUTS", "RAW_OUTPUTS", "decode_infer", "encode_infer"]

LARGE_MESSAGE: Final = 64 * 1024
"""Messages of at least so many bytes have their tensors cut out instead of copied; below, parsing is quicker."""
RAW_INPUTS: Final = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
RAW_OUTPUTS: Final = pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
_Output = pb.ModelInferResponse.InferOutputTensor
_DATATYPES: Final = {datatype.value: datatype for datatype in Datatype}
_CONTENTS: Final = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}


def decode_infer(message: bytes, limits: CodecLimits | None = None) -> tuple[InferRequest, bool]:
    """The request, and whether its answer should be raw.

    Raw tensors of a large message are views of ``message``.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` naming the field; ``UNIMPLEMENTED`` for an extension not supported.
    """
    limits = limits or CodecLimits()
    raw: Sequence[bytes | memoryview]
    try:
        cut = cut_bytes_field(message, RAW_INPUTS) if len(message) >= LARGE_MESSAGE else None
        if cut is None:
            document = pb.ModelInferRequest.FromString(message)
            raw = document.raw_input_contents
        else:
            document = pb.ModelInferRequest.FromString(cut[0])
            raw = cut[1]
    except DecodeError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, "the message is not a valid ModelInferRequest") from error
    inputs = _inputs(document, raw, limits)
    parameters = _parameters(document.parameters)
    if parameters:
        check_parameters(parameters)
    names: tuple[str, ...] = ()
    classes: dict[str, int] = {}
    if document.outputs:
        if len(document.outputs) > limits.max_tensors:
            raise too_many_tensors("outputs", len(document.outputs), limits.max_tensors)
        names = tuple(output.name for output in document.outputs)
        unique_names(names, "outputs")
        asked = [(output.name, _parameters(output.parameters)) for output in document.outputs]
        # Raw or typed follows the request here; this refuses what is wrong or not offered.
        output_form(parameters, asked)
        classes = wanted_classes(asked)
    request = InferRequest(
        document.model_name, inputs, document.model_version or None, document.id or None, names, parameters, classes
    )
    return request, len(raw) > 0


def _inputs(document: pb.ModelInferRequest, raw: Sequence[bytes | memoryview], limits: CodecLimits) -> list[Tensor]:
    bodies = document.inputs
    if len(bodies) > limits.max_tensors:
        raise too_many_tensors("inputs", len(bodies), limits.max_tensors)
    if raw and len(raw) != len(bodies):
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"raw_input_contents: {len(raw)} entries for {len(bodies)} inputs",
            field="raw_input_contents",
            remedy="send one entry for each input, in the same order",
        )
    tensors: list[Tensor] = []
    for index, body in enumerate(bodies):
        datatype = _DATATYPES.get(body.datatype)
        if datatype is None:
            field = f"inputs[{index}].datatype"
            known = ", ".join(_DATATYPES)
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT, f"{field}: unknown datatype {body.datatype!r}", field=field, remedy=known
            )
        shape = list(body.shape)
        data = None
        if raw:
            if body.HasField("contents"):
                problem = f"inputs[{index}].contents: not allowed together with raw_input_contents"
                raise PillionError(ErrorCode.INVALID_ARGUMENT, problem, field=f"inputs[{index}].contents")
            data = plain_from_raw(raw[index], datatype, shape, limits.max_elements)
        if data is None:
            count = element_count(shape, f"inputs[{index}].shape", limits.max_elements)
            if raw:
                field = f"raw_input_contents[{index}]"
                data = from_raw(raw[index], datatype, shape, count, field, limits.max_string_bytes)
            else:
                data = _typed(body.contents, datatype, shape, count, f"inputs[{index}].contents")
        tensor = Tensor(body.name, datatype, data, {})
        if body.parameters:
            tensor.parameters = _parameters(body.parameters)
            refuse_shared_memory(tensor.parameters, f"inputs[{index}].parameters")
        tensors.append(tensor)
    if len(tensors) > 1:
        unique_names(tuple(tensor.name for tensor in tensors), "inputs")
    return tensors


def _typed(
    contents: pb.InferTensorContents, datatype: Datatype, shape: list[int], count: int, field: str
) -> np.ndarray[Any, np.dtype[Any]]:
    name = _CONTENTS.get(datatype)
    if name is None:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"{field}: {datatype} has no typed form",
            field=field,
            remedy="send it in raw_input_contents",
        )
    field = f"{field}.{name}"
    values = getattr(contents, name)
    if len(values) != count:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"{field}: {len(values)} elements, but shape {shape} of {datatype} takes {count}",
            field=field,
        )
    try:
        return np.array(list(values), dtype=dtype_of(datatype)).reshape(shape)
    except OverflowError as error:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT, f"{field}: a value is out of range for {datatype}", field=field
        ) from error


def encode_infer(response: InferResponse, *, raw: bool) -> bytes:
    """The serialized ModelInferResponse; large raw tensors are copied once, into it."""
    outputs = response.outputs
    raw = raw or any(tensor.datatype in RAW_ONLY for tensor in outputs)
    parts = [to_raw(tensor.data, tensor.datatype) for tensor in outputs] if raw else []
    # Small tensors are quicker to hand to protobuf, which copies them twice, than to append ourselves.
    small = sum(map(len, parts)) < LARGE_MESSAGE
    document = pb.ModelInferResponse(
        model_name=response.model,
        model_version=response.version,
        id=response.id or "",
        outputs=[_Output(name=t.name, datatype=t.datatype._value_, shape=t.data.shape) for t in outputs],
        raw_output_contents=map(bytes, parts) if small else None,
    )
    if response.parameters:
        _set_parameters(document.parameters, response.parameters)
    for index, tensor in enumerate(outputs):
        if tensor.parameters:
            _set_parameters(document.outputs[index].parameters, tensor.parameters)
        if not raw:
            _fill(document.outputs[index].contents, tensor)
    message: bytes = document.SerializeToString()
    return message if small else append_bytes_field(message, RAW_OUTPUTS, parts)


def _fill(contents: pb.InferTensorContents, tensor: Tensor) -> None:
    flat = tensor.data.reshape(-1).tolist()
    if tensor.datatype is Datatype.BYTES:
        flat = [item.encode() if isinstance(item, str) else bytes(item) for item in flat]
    getattr(contents, _CONTENTS[tensor.datatype]).extend(flat)


def _parameters(parameters: Mapping[str, pb.InferParameter]) -> Parameters:
    values: Parameters = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values


def _set_parameters(into: Any, parameters: Parameters) -> None:  # noqa: ANN401  # protobuf's map, untyped for messages
    for name, value in parameters.items():
        if isinstance(value, bool):
            into[name].bool_param = value
        elif isinstance(value, int):
            setattr(into[name], "int64_param" if value < 2**63 else "uint64_param", value)
        elif isinstance(value, float):
            into[name].double_param = value
        else:
            into[name].string_param = value
