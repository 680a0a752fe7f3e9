"""Blocking work beside the event loop, in threads that never keep the process from ending.

``concurrent.futures`` joins its threads when the interpreter exits, so a model that takes minutes to load, or never
ends loading, would hold up a stopping pod until it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Background"]

T = TypeVar("T")


class Background:
    """Runs at most ``limit`` pieces of work at a time, each in a daemon thread of its own."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(limit)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``, or its exception. Cancelling the caller leaves the thread to end by itself."""
        async with self._slots:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[T] = loop.create_future()

            def settle(result: T | None, failure: Exception | None) -> None:
                if done.cancelled():
                    return
                if failure is not None:
                    done.set_exception(failure)
                else:
                    done.set_result(result)  # type: ignore[arg-type] # None only where T allows it: no failure

            def body() -> None:
                result: T | None = None
                failure: Exception | None = None
                try:
                    result = work()
                except Exception as error:  # noqa: BLE001 - it belongs to the caller
                    failure = error
                except BaseException as error:  # noqa: BLE001 - sys.exit() in loaded code must reach the caller too
                    failure = RuntimeError(f"{type(error).__name__}: {error}")
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(settle, result, failure)

            threading.Thread(target=body, name=self._name, daemon=True).start()
            return await done
