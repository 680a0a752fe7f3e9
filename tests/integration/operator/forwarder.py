"""What a Service does for the API server: one address in front of the replicas that are ready."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

from tests.integration.operator.beside import ServerBeside

if TYPE_CHECKING:
    from collections.abc import Sequence


class Forwarder(ServerBeside):
    """Hands each connection to the next of `targets`, ports of loopback, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._targets: tuple[int, ...] = ()
        self._turn = itertools.count()
        self.taken: dict[int, int] = {}

    def lead_to(self, targets: Sequence[int]) -> None:
        """Send new connections to these ports from now on; those that are open stay."""
        self._targets = tuple(targets)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, IndexError, ZeroDivisionError):
            targets = self._targets
            port = targets[next(self._turn) % len(targets)]
            there = await asyncio.open_connection("127.0.0.1", port)
            self.taken[port] = self.taken.get(port, 0) + 1
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()
