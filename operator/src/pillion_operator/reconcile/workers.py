"""Workers: take keys from the queue while this replica leads, and reconcile them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError, NotLeaderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pillion_operator.reconcile.workqueue import Workqueue
    from pillion_operator.state.manifest import Key

__all__ = ["Workers"]

_log: Final = logging.getLogger(__name__)
#: Failures in a row after which they are worth a warning; before, another writer was faster, or the server busy.
_LOUD_AFTER: Final = 3


class Workers:
    """A fixed number of workers on one queue."""

    def __init__(
        self,
        queue: Workqueue[Key],
        reconcile: Callable[[Key], Awaitable[float | None]],
        observe: Callable[[str, float], None],
        number: int,
        noun: str = "InferenceService",
    ) -> None:
        """Prepare; `noun` is what the log calls a key."""
        self._queue = queue
        self._reconcile = reconcile
        self._observe = observe
        self._number = number
        self._noun = noun
        self.last_finished = time.monotonic()

    async def run(self, leading: asyncio.Event) -> None:
        """Work until cancelled, or until a worker fails in a way that it must not."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._number):
                group.create_task(self._work(leading))

    async def _work(self, leading: asyncio.Event) -> None:
        while True:
            await leading.wait()
            key = await self._queue.get()
            try:
                if leading.is_set():
                    await self._one(key)
                else:
                    self._queue.add(key)
            finally:
                self._queue.done(key)
                self.last_finished = time.monotonic()

    async def _one(self, key: Key) -> None:
        started = time.monotonic()
        try:
            again = await self._reconcile(key)
        except NotLeaderError:
            # The election ends the process; the key will be the next leader's.
            self._queue.add_after(key, 1.0)
            return
        except ApiError as error:
            seconds = self._queue.retry(key, at_least=error.retry_after or 0.0)
            loud = self._queue.failures(key) >= _LOUD_AFTER
            _log.log(
                logging.WARNING if loud else logging.INFO,
                "%s %s: %s; trying again in %.1f s",
                self._noun,
                key,
                error,
                seconds,
            )
            self._observe("retry", time.monotonic() - started)
            return
        except Exception:  # noqa: BLE001 - a defect with one object must not stop the others
            seconds = self._queue.retry(key)
            _log.exception("%s %s could not be reconciled; trying again in %.1f s", self._noun, key, seconds)
            self._observe("failed", time.monotonic() - started)
            return
        self._queue.forget(key)
        if again is not None:
            self._queue.add_after(key, again)
        self._observe("ok", time.monotonic() - started)
