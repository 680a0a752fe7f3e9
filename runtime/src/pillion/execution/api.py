"""How a model's code is run: the seam between the data plane and the ways of running a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.backends.api import Predictor
    from pillion.tensors import Tensor

__all__ = ["DeadlinePassedError", "Executor", "Interrupt", "WorkerDiedError", "WorkerState"]


class DeadlinePassedError(Exception):
    """The time limit given to :meth:`Executor.run` ran out before the call ended."""


class WorkerDiedError(PillionError):
    """Worker processes ended over a call.

    Not "unavailable": clients and proxies repeat such requests by themselves, and this one would end the next worker.

    Args:
        label: name and version of the model.
        deaths: how many did.
        again: whether the requests of the call may be computed again, apart from each other.
    """

    def __init__(self, label: str, deaths: int, *, again: bool) -> None:
        said = "the worker process that computed this request ended"
        remedy = "the same request may end the next one, too"
        if deaths > 1:
            said, remedy = f"{deaths} worker processes ended over this request", "it is not tried again"
        super().__init__(ErrorCode.MODEL_FAILED, f"model {label}: {said}", remedy=f"see the server's log; {remedy}")
        self.label = label
        self.deaths = deaths
        self.again = again


class Interrupt:
    """A way to stop a call that runs in another thread, for models whose library has one.

    The model's ``predict`` sets :attr:`action`; it is called from the event loop's thread, at most once, when nobody
    waits for the result any more. A model that sets nothing runs to its end.
    """

    __slots__ = ("action", "fired")

    def __init__(self) -> None:
        self.action: Callable[[], None] | None = None
        self.fired = False

    def fire(self) -> None:
        """Ask the call to stop."""
        self.fired = True
        if self.action is not None:
            self.action()


class Executor(Protocol):
    """Runs calls of one model. Used from one event loop's thread only."""

    async def run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
    ) -> list[Tensor]:
        """Run ``model.predict`` and return its tensors, waiting at most ``seconds``.

        Cancelling the awaiting task gives the call up: one not begun is never begun.

        Raises:
            DeadlinePassedError: the time ran out.
            Exception: whatever the model raised.
        """
        ...

    @property
    def immediate(self) -> bool:
        """Whether a call made now runs at once, on the event loop, and nothing of the model runs elsewhere.

        Such calls cannot overlap, so they need no slot.
        """
        ...

    @property
    def abandoned(self) -> int:
        """Calls that still run although nobody waits for them."""
        ...

    def close(self) -> None:
        """Take no more work and let threads end after the work they hold. Idempotent, does not wait."""
        ...


class WorkerState(msgspec.Struct, frozen=True):
    """One worker as metrics show it."""

    index: int
    pid: int
    """0 while there is none."""
    ready: bool
    starts: int
    """Processes started, the first one included."""
    rss: int
    """Bytes."""
    recycled: int = 0
    """Processes among those started that took over from one which had served long enough."""
    calls: int = 0
    """What it holds: one computing, the others behind it."""
