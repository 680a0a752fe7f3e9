"""How many requests of an application run and wait: the gate of models, with an application's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.dataplane.admission import Admission
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Gate"]


class Gate(Admission):
    """See :class:`~pillion.dataplane.admission.Admission`.

    Args:
        name: of the application, for messages.
        ongoing: requests that run at the same time.
        queued: requests that may wait.
        clock: monotonic seconds.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str, ongoing: int, queued: int, clock: Callable[[], float]) -> None:
        super().__init__(name, ongoing, queued, clock)
        self._name = name

    def queue_full(self) -> PillionError:
        """The refusal, with the time after which the queue has room."""
        return PillionError(
            ErrorCode.QUEUE_FULL,
            f"application {self._name}: {self.running} requests are running (maxOngoingRequests {self.capacity}) and"
            f" {self.queued} are waiting, which is the limit (maxQueuedRequests {self.max_queue})",
            remedy="try again later",
            retry_after=self._retry_after(),
        )
