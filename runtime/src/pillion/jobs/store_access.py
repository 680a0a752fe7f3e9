"""The store as the event loop asks it: in threads, its errors as those of a request, and whether it serves at all.

What says that this server lives has a thread of its own, so that nothing large that the store is asked holds it up.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.store import JobStoreError, StoreFullError, StoreLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StoreAccess"]

_log: Final = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_RETRY_WHEN_AWAY: Final = 5.0


class StoreAccess:
    """Event loop's thread only.

    Args:
        field: the setting that names the store.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pillion-jobs")
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="pillion-jobs-lease")
        self.trouble = ""
        """Why it could not be used when it was asked last, in one sentence; empty where it could."""
        self.errors = 0
        """Times that it could not do what it was asked."""

    async def ask(self, work: Callable[..., _Value], *arguments: object, beside: bool = False) -> _Value:
        """Have blocking work done, in turn with other such work, or ``beside`` it.

        Raises:
            PillionError: ``NOT_READY``: the store cannot be used now; ``STORAGE_FULL``: it has no room.
        """
        thread = self._beside if beside else self._thread
        try:
            value = await asyncio.get_running_loop().run_in_executor(thread, work, *arguments)
        except JobStoreError as error:
            raise self.refusal(error) from error
        if self.trouble and not beside:  # the lease's connection says nothing of the store's
            _log.warning("jobs: the store can be used again")
            self.trouble = ""
        return value

    def refusal(self, error: JobStoreError) -> PillionError:
        """What a caller is told."""
        if isinstance(error, StoreLimitError):
            return PillionError(ErrorCode.STORAGE_FULL, str(error), field=error.field, remedy=error.remedy)
        self.errors += 1
        if isinstance(error, StoreFullError):
            _log.error("jobs: %s", error)
            return PillionError(ErrorCode.STORAGE_FULL, f"jobs cannot be kept: {error}", field=self._field)
        sentence = f"jobs cannot be kept: {error}"
        if sentence != self.trouble:  # once, not every second
            _log.error("jobs: %s", error)
            self.trouble = sentence
        return PillionError(ErrorCode.NOT_READY, sentence, field=self._field, retry_after=_RETRY_WHEN_AWAY)

    def close(self) -> None:
        """Nothing more is asked."""
        self._thread.shutdown(wait=False)
        self._beside.shutdown(wait=False)
