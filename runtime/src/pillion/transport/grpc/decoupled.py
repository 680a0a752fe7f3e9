"""ModelStreamInfer for models that generate: several answers to one request, as Triton's decoupled models give them.

A request with the input ``text_input`` (BYTES, one element) is answered with one ``text_output`` a piece. Its
parameters are the options of the model's ``generate``. With ``triton_enable_empty_final_response`` the last answer has
no output and the parameter ``triton_final_response``, so that a client knows that it is the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pillion.dataplane.call import InferResponse
from pillion.dataplane.completion import Completion
from pillion.errors import PillionError
from pillion.protocol.generation import STOP, arguments, asks_for, invalid, stops
from pillion.tensors import Datatype, Tensor
from pillion.transport.grpc.infer import TEXT_INPUT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pillion.dataplane.call import Call, InferRequest, Parameters
    from pillion.dataplane.streams import ItemStream, TextPlane

__all__ = ["generated"]

_OUTPUT: Final = "text_output"
_ASKS_FOR_LAST: Final = "triton_enable_empty_final_response"
_LAST: Final = "triton_final_response"


async def generated(
    plane: TextPlane, request: InferRequest, call: Call, open_streams: set[ItemStream]
) -> AsyncGenerator[InferResponse]:
    """The answers, each with the request's id.

    Raises:
        PillionError: before the first or after some.
    """
    try:
        options = dict(request.parameters)
        wants_last = options.pop(_ASKS_FOR_LAST, False)
        cuts = stops(options.pop("stop", None))
        task, generator = plane.generator(request.model, request.version)
        given = arguments(generator, asks_for(generator, _text(request)), options, cuts)
    except PillionError as error:
        plane.refused(error, call.protocol, request.model, request.version)
        raise
    stream = await plane.stream(task, given, call)

    open_streams.add(stream)
    try:
        completion = Completion(stream, cuts, told=STOP in generator.options)
        while pieces := await completion.take():
            for piece in pieces:
                output = Tensor(_OUTPUT, Datatype.BYTES, np.array([piece.encode()], np.object_))
                yield InferResponse(stream.model, stream.version, [output], request.id, {_LAST: False})
        if wants_last:
            ended: Parameters = {_LAST: True, "finish_reason": completion.reason}
            yield InferResponse(stream.model, stream.version, [], request.id, ended)
    finally:
        open_streams.discard(stream)
        stream.close()


def _text(request: InferRequest) -> str:
    if len(request.inputs) > 1:
        raise invalid(f"inputs[1]: {request.inputs[1].name}", "options are parameters of the request")
    tensor = request.inputs[0]
    if tensor.datatype is not Datatype.BYTES or tensor.data.size != 1:
        raise invalid("inputs[0]", f"{TEXT_INPUT} is BYTES with one element")
    try:
        text: str = tensor.data.reshape(1)[0].decode()
    except UnicodeDecodeError:
        raise invalid("inputs[0].data[0]", "it is not valid UTF-8") from None
    return text
