"""``POST .../infer`` and ``:predict``: body in, data plane, body out. The path every prediction over HTTP takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pillion.dataplane.call import Call, WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.oip_json import OipJsonDecoder
from pillion.protocol.oip_json_answer import encode_answer
from pillion.protocol.v1 import decode_v1, encode_v1
from pillion.transport.http.answer import Answer
from pillion.transport.http.body import read_body, stated_length
from pillion.transport.http.disconnect import DisconnectWatch
from pillion.transport.http.headers import check_content_type, header_length, timeout_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.call import InferencePlane, InferRequest, InferResponse
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["InferHandler"]


class InferHandler:
    """Inference over the Open Inference Protocol and over V1."""

    def __init__(self, plane: InferencePlane, options: DispatchOptions) -> None:
        self._plane = plane
        self._options = options
        self._decoder = OipJsonDecoder(options.codec)

    async def infer(self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, request_id: str) -> Answer:
        """One request of the Open Inference Protocol.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        call = self._call(WireProtocol.REST, headers, request_id)
        json_bytes = header_length(headers)
        body = await self._body(headers, receive, json_bytes or 0)
        decoded = self._decoder.decode(body, model=target.model, version=target.version, header_length=json_bytes)
        response = await self._run(decoded.request, call, receive)
        response.id = decoded.request.id
        document, parts = encode_answer(response, decoded.form)
        if not parts:
            return Answer(document)
        extra = ((b"inference-header-content-length", b"%d" % len(document)),)
        return Answer(document, content_type=b"application/octet-stream", headers=extra, parts=parts)

    async def predict(
        self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, request_id: str
    ) -> Answer:
        """One request of V1, read against what the model says of its inputs.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        call = self._call(WireProtocol.V1, headers, request_id)
        body = await self._body(headers, receive, 0)
        status = self._plane.status(target.model)
        if status.metadata is None:
            raise PillionError(
                ErrorCode.NOT_READY, status.reason or f"Model {target.model!r} is {status.state.value.lower()}"
            )
        request = decode_v1(body, model=target.model, metadata=status.metadata, limits=self._options.codec)
        return Answer(encode_v1(await self._run(request, call, receive)))

    def _call(self, protocol: WireProtocol, headers: Mapping[bytes, bytes], request_id: str) -> Call:
        seconds = timeout_seconds(headers)
        return Call(protocol, request_id, None if seconds is None else self._options.clock() + seconds)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive, json_bytes: int) -> bytes | memoryview:
        check_content_type(headers.get(b"content-type"))
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            raise PillionError(
                ErrorCode.UNSUPPORTED_MEDIA_TYPE,
                f"Content-Encoding {encoding.decode('ascii', 'replace')[:40]!r} is not accepted",
                field="Content-Encoding",
                remedy="send the body uncompressed",
            )
        limit = self._options.max_body_bytes
        length = stated_length(headers.get(b"content-length"), limit)
        return await read_body(receive, length=length, limit=limit, json_bytes=json_bytes)

    async def _run(self, request: InferRequest, call: Call, receive: Receive) -> InferResponse:
        with DisconnectWatch(receive, asyncio.get_running_loop(), self._options.disconnect_grace):
            return await self._plane.infer(request, call)
