"""The servers that run in this process, by their ids, and ``pillion.stop``, which ends one from within."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["registered", "running_ids", "stop"]

_LOCK = threading.RLock()  # a handler of signals may stop a server while its thread has it
_STOPS: dict[str, Callable[[], None]] = {}


class _Asked:
    """What :func:`stop` gives: the stop has been asked for already, so awaiting it waits for nothing."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


@contextmanager
def registered(server_id: str, ask: Callable[[], None]) -> Iterator[None]:
    """Let :func:`stop` find a server while the block runs.

    Args:
        server_id: its name in this process.
        ask: has it stop soon; returns at once, and may be called by any thread, any number of times.

    Raises:
        ValueError: one of that id runs in this process.
    """
    with _LOCK:
        if server_id in _STOPS:
            raise ValueError(
                f"a server with server_id {server_id!r} runs in this process: end it, or give this one another id"
            )
        _STOPS[server_id] = ask
    try:
        yield
    finally:
        with _LOCK:
            del _STOPS[server_id]


def running_ids() -> list[str]:
    """The ids that are taken."""
    with _LOCK:
        return sorted(_STOPS)


def stop(server_id: str = "0") -> _Asked:
    """Have a server of this process stop: with several workers, all of them. Any thread, handlers as well::

        @app.post("/stop")
        async def end() -> str:
            await pillion.stop()
            return "stopping"

    It returns at once, so that the handler's own answer leaves: requests in progress end within the grace, then
    ``pillion.serve`` returns. It may be called without ``await``.

    Args:
        server_id: which; see ``pillion.serve``.

    Raises:
        RuntimeError: none of that id runs in this process.
    """
    with _LOCK:
        ask = _STOPS.get(server_id)
        ids = ", ".join(map(repr, sorted(_STOPS)))
    if ask is None:
        raise RuntimeError(
            f"no server with server_id {server_id!r} runs in this process" + (f"; there is {ids}" if ids else "")
        )
    ask()
    return _Asked()
