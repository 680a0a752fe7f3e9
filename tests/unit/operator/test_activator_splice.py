"""Carrying bytes between sockets of which one takes its time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest

from pillion_operator.activator.http2 import AckFilter
from pillion_operator.activator.splice import Age, Stream, splice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ANSWER = bytes(200_000)


@contextlib.asynccontextmanager
async def ends() -> AsyncIterator[tuple[Stream, socket.socket]]:
    """One end as the activator has it, and the other, for which the kernel keeps next to nothing."""
    mine, other = socket.socketpair()
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    other.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=mine)
    writer.transport.set_write_buffer_limits(high=len(_ANSWER))
    try:
        yield Stream(reader, writer), other
    finally:
        writer.transport.abort()
        other.close()


@pytest.mark.parametrize("closes", [True, False])
def test_a_client_that_takes_its_time_gets_the_whole_answer(closes: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    async def use() -> None:
        loop = asyncio.get_running_loop()
        async with ends() as (client, person), ends() as (server, pod):
            if not closes:
                client.writer.transport.set_write_buffer_limits(high=0)
            # Old, and quiet but for what the client has not taken yet.
            age = Age(30.0 if closes else 0.1, 0.1, 30.0)
            going = asyncio.create_task(splice(client, server, AckFilter(0), AckFilter(0), age, time.monotonic))
            await loop.sock_sendall(pod, _ANSWER)
            if closes:
                pod.close()

            await asyncio.wait({going}, timeout=1.5)

            assert not going.done()
            heard = 0
            while heard < len(_ANSWER):
                heard += len(await asyncio.wait_for(loop.sock_recv(person, 65_536), 60))
            await asyncio.wait_for(going, 60)

    asyncio.run(use())
