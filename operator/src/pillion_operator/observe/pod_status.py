"""Asking a pod: `GET http://{pod}:8082/status`, bounded in size and time, and never led to another address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.manifest import Manifest, text_at

if TYPE_CHECKING:
    import aiohttp

__all__ = ["ask"]


async def ask(
    session: aiohttp.ClientSession, pod: Manifest, port: int, within: aiohttp.ClientTimeout, most_bytes: int
) -> bytes:
    """Return the answer, empty where its status is not 200; what is beyond `most_bytes` is not read.

    Args:
        session: shared by all who ask.
        pod: which has an address.
        port: of its runtime's admin listener.
        within: the time for all of it.
        most_bytes: of the answer.

    Raises:
        aiohttp.ClientError: the pod cannot be reached, or does not speak HTTP.
        TimeoutError: it took too long.
    """
    address = text_at(pod, "status", "podIP")
    host = f"[{address}]" if ":" in address else address
    content = bytearray()
    async with session.get(f"http://{host}:{port}/status", timeout=within, allow_redirects=False) as response:
        while response.status == 200 and len(content) < most_bytes:
            piece = await response.content.read(most_bytes - len(content))
            if not piece:
                break
            content += piece
    return bytes(content)
