"""Asking a pod: `GET http://{pod}:8082/...`, bounded in size and time, and never led to another address."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pillion_operator.state.manifest import Manifest, text_at

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import aiohttp

__all__ = ["ask", "pieces"]


async def ask(
    session: aiohttp.ClientSession,
    pod: Manifest,
    port: int,
    within: aiohttp.ClientTimeout,
    most_bytes: int,
    path: str = "/status",
) -> bytes:
    """Return the answer, empty where its status is not 200; what is beyond `most_bytes` is not read.

    Args:
        session: shared by all who ask.
        pod: which has an address.
        port: of its runtime's admin listener.
        within: the time for all of it.
        most_bytes: of the answer.
        path: what to ask for.

    Raises:
        aiohttp.ClientError: the pod cannot be reached, or does not speak HTTP.
        TimeoutError: it took too long.
    """
    content = bytearray()
    async with contextlib.aclosing(pieces(session, pod, port, within, most_bytes, path)) as answer:
        async for piece in answer:
            content += piece
    return bytes(content)


async def pieces(
    session: aiohttp.ClientSession,
    pod: Manifest,
    port: int,
    within: aiohttp.ClientTimeout,
    most_bytes: int,
    path: str,
) -> AsyncGenerator[bytes, None]:
    """Yield the answer as it comes, for who needs to keep little of it; the rest is as `ask` has it."""
    address = text_at(pod, "status", "podIP")
    host = f"[{address}]" if ":" in address else address
    left = most_bytes
    async with session.get(f"http://{host}:{port}{path}", timeout=within, allow_redirects=False) as response:
        while response.status == 200 and left:
            piece = await response.content.read(left)
            if not piece:
                break
            left -= len(piece)
            yield piece
