"""A server of the tests in an event loop of its own, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from tests.waiting import WITHIN

if TYPE_CHECKING:
    from types import TracebackType


class ServerBeside(ABC):
    """Serves while the block runs."""

    def __init__(self) -> None:
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(WITHIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._serve()

    @abstractmethod
    async def _serve(self) -> None:
        """Set `_ready` once it answers, and serve until `_stop` is set."""
