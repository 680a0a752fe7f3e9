"""Messages of one client differ in little more than the bytes of their tensor: what stays the same is parsed once.

A *template* is everything in front of those bytes. A request that begins like a known one and is as long has the same
model, names, datatype and shape, because protobuf's parser would read the same fields; an answer with the same model,
name, datatype and shape has the same head. What has an id, parameters or several tensors goes the ordinary way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pillion.dataplane.call import InferRequest
from pillion.protocol.oip_proto import LARGE_MESSAGE, RAW_INPUTS, RAW_OUTPUTS, decode_infer, encode_infer
from pillion.protocol.proto_wire import append_bytes_field, cut_bytes_field
from pillion.protocol.raw import PLAIN
from pillion.tensors import Tensor

if TYPE_CHECKING:
    from pillion.dataplane.call import InferResponse
    from pillion.protocol.limits import CodecLimits
    from pillion.tensors import Datatype

__all__ = ["InferCodec"]

_MOST: Final = 256
"""Templates kept of each kind; when there are more, all are forgotten and learned again."""


class _Request(NamedTuple):
    head: bytes
    model: str
    version: str | None
    outputs: tuple[str, ...]
    name: str
    datatype: Datatype
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class InferCodec:
    """:func:`~pillion.protocol.oip_proto.decode_infer` and ``encode_infer``, with a memory. One event loop only."""

    def __init__(self, limits: CodecLimits) -> None:
        self._limits = limits
        self._requests: dict[int, _Request] = {}
        self._heads: dict[tuple[str, str, str, Datatype, tuple[int, ...]], bytes] = {}

    def decode(self, message: bytes) -> tuple[InferRequest, bool]:
        """The request, and whether its answer should be raw.

        Raises:
            PillionError: as ``decode_infer``.
        """
        known = self._requests.get(len(message))
        if known is None or not message.startswith(known.head):
            request, raw = decode_infer(message, self._limits)
            if raw and len(message) < LARGE_MESSAGE:
                self._learn(message, request)
            return request, raw
        head, model, version, outputs, name, datatype, dtype, shape = known
        # A slice is a copy, and aligned; the message itself is not.
        data = np.frombuffer(message[len(head) :], dtype).reshape(shape)
        return InferRequest(model, [Tensor(name, datatype, data)], version, None, outputs), True

    def _learn(self, message: bytes, request: InferRequest) -> None:
        tensor = request.inputs[0]
        dtype = PLAIN.get(tensor.datatype)
        if len(request.inputs) > 1 or request.id or request.parameters or tensor.parameters or dtype is None:
            return
        if request.classes:
            return
        cut = cut_bytes_field(message, RAW_INPUTS)
        if cut is None or not message.startswith(cut[0]):
            return  # the tensor's bytes are not the last field
        head = message[: len(message) - len(cut[1][0])]
        if len(self._requests) >= _MOST:
            self._requests.clear()
        self._requests[len(message)] = _Request(
            head, request.model, request.version, request.outputs, tensor.name, tensor.datatype, dtype, tensor.shape
        )

    def encode(self, response: InferResponse, *, raw: bool) -> bytes:
        """The serialized answer."""
        if not raw or response.id or response.parameters or len(response.outputs) != 1:
            return encode_infer(response, raw=raw)
        tensor = response.outputs[0]
        data = tensor.data
        if tensor.parameters or data.nbytes >= LARGE_MESSAGE or data.dtype is not PLAIN.get(tensor.datatype):
            return encode_infer(response, raw=raw)
        key = (response.model, response.version, tensor.name, tensor.datatype, data.shape)
        head = self._heads.get(key)
        content = data.tobytes()
        if head is not None:
            return head + content
        message = encode_infer(response, raw=True)
        if content and message.endswith(append_bytes_field(b"", RAW_OUTPUTS, [memoryview(content)])):
            if len(self._heads) >= _MOST:
                self._heads.clear()
            self._heads[key] = message[: -len(content)]
        return message
