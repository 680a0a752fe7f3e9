"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Coroutine

__all__ = ["LoopBeside"]

_TO_END: Final = 1.0
"""Seconds for what is cancelled at the end."""


class LoopBeside:
    """It runs until :meth:`stop`, or the end of the program.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether it was."""
        return self.loop.is_closed()

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Run it there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, awaitable: Any) -> Any:  # noqa: ANN401 - whatever it gives
        """Run it there and wait; one that waits and is interrupted cancels it."""
        future = self.begin(_awaited(awaitable))
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End both; what still runs there is cancelled first."""
        self.run(_cancelled())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _cancelled() -> None:
    """Cancel what else runs, and wait until it has ended, for a while."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_TO_END)


async def _awaited(awaitable: Any) -> Any:  # noqa: ANN401 - as above
    return await awaitable
