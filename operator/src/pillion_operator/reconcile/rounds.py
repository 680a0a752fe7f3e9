"""Looking at services again and again beside the queue: what their pods count is told by no watch."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError, NotLeaderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pillion_operator.state.manifest import Key

__all__ = ["Rounds"]

_log: Final = logging.getLogger(__name__)
_ROUND_SECONDS: Final = 2.0
#: Services that are looked at at a time; how many pods are asked at a time is the reader's matter.
_AT_A_TIME: Final = 16


class Rounds:
    """Rounds of looks; `failure` says in the log what could not be done with a service."""

    def __init__(self, clock: Callable[[], float], failure: str) -> None:
        self._clock = clock
        self._failure = failure
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def run(self, leading: asyncio.Event, one: Callable[[], Awaitable[None]]) -> None:
        """Make a round each two seconds while this replica leads, until cancelled."""
        while True:
            await leading.wait()
            started = self._clock()
            await one()
            # A round that takes long is a cluster with many pods: what it asks for is to be looked at less often.
            took = self._clock() - started
            await asyncio.sleep(max(_ROUND_SECONDS - took, took))

    async def look(self, keys: Iterable[Key], look: Callable[[Key], Awaitable[None]]) -> None:
        """Look at each; what fails is logged, and looked at again with the next round."""
        await asyncio.gather(*(self._guarded(key, look) for key in keys))

    async def _guarded(self, key: Key, look: Callable[[Key], Awaitable[None]]) -> None:
        async with self._slots:
            try:
                await look(key)
            except NotLeaderError:
                return  # The election ends the process.
            except ApiError as error:
                # Another writer was faster, or the server is busy: the next look is two seconds away.
                level = logging.DEBUG if error.conflict else logging.WARNING
                _log.log(level, "InferenceService %s could not be %s: %s", key, self._failure, error)
            except Exception:  # noqa: BLE001 - a defect with one service must not stop the others
                _log.exception("InferenceService %s could not be %s", key, self._failure)
