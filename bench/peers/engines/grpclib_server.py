"""The same on grpclib, which is h2 and hpack (both pure Python) on asyncio."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpclib.const
import grpclib.encoding.base
import grpclib.server
import uvloop


class _Bytes(grpclib.encoding.base.CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Service:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def infer(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(self._answer)

    def __mapping__(self) -> dict[str, Any]:
        handler = grpclib.const.Handler(self.infer, grpclib.const.Cardinality.UNARY_UNARY, bytes, bytes)
        return {"/inference.GRPCInferenceService/ModelInfer": handler}


async def main(answer: bytes, port: int) -> None:
    server = grpclib.server.Server([_Service(answer)], codec=_Bytes())
    await server.start("127.0.0.1", port)
    await server.wait_closed()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]).read_bytes(), int(sys.argv[2])))
