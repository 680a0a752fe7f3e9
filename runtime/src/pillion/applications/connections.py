"""The connections to other services: shared by all that name one in the same way, and ended with who uses them."""

from __future__ import annotations

import asyncio
import atexit
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.client.aio import AsyncClient
    from pillion.client.sync import Client

    Key = tuple[object, ...]

__all__ = ["close_here", "here", "parted", "parted_here", "waiting"]

_LOCK: Final = threading.Lock()
_WAITING: Final[dict[Key, Client]] = {}
_BY_LOOP: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Key, AsyncClient]]] = WeakKeyDictionary()


def here(key: Key, make: Callable[[], AsyncClient]) -> AsyncClient:
    """The client of the running event loop."""
    clients = _on_loop()
    if key not in clients:
        clients[key] = make()
    return clients[key]


def waiting(key: Key, make: Callable[[], Client]) -> Client:
    """The client of code that has no event loop."""
    with _LOCK:
        if key not in _WAITING:
            _WAITING[key] = make()
        return _WAITING[key]


def parted(key: Key) -> Client | None:
    """That client, which others do not get any more."""
    with _LOCK:
        return _WAITING.pop(key, None)


def parted_here(key: Key) -> AsyncClient | None:
    """That of the running event loop."""
    return _on_loop().pop(key, None)


async def close_here() -> None:
    """End all connections of the running event loop, which ends."""
    clients = _on_loop()
    while clients:
        await clients.popitem()[1].close()


def _on_loop() -> dict[Key, AsyncClient]:
    with _LOCK:
        return _BY_LOOP.setdefault(asyncio.get_running_loop(), {})


@atexit.register
def _close_waiting() -> None:
    while _WAITING:
        _WAITING.popitem()[1].close()
