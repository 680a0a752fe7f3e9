"""Coroutines on the event loop, everything else in threads: for models whose code is the user's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from pillion.execution.api import DeadlinePassedError
from pillion.execution.eager import eager

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.api import Predictor
    from pillion.execution.thread import ThreadExecutor
    from pillion.tensors import Tensor

__all__ = ["AsyncPredictor", "MixedExecutor"]


class AsyncPredictor(Protocol):
    """A model, or one call of it, that can run on the event loop."""

    asynchronous: bool
    """Whether it is to run there."""

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """See :meth:`pillion.backends.api.Predictor.predict`."""
        ...


class MixedExecutor:
    """See :class:`~pillion.execution.api.Executor`.

    A coroutine whose caller has left, or whose deadline has passed, is cancelled; until it has ended (it may catch
    that to clean up) it counts as abandoned.
    """

    def __init__(self, threads: ThreadExecutor) -> None:
        self._threads = threads
        self._ending: set[asyncio.Task[list[Tensor]]] = set()

    immediate = False

    @property
    def abandoned(self) -> int:
        """See :class:`~pillion.execution.api.Executor`."""
        return self._threads.abandoned + len(self._ending)

    async def run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
    ) -> list[Tensor]:
        """See :class:`~pillion.execution.api.Executor`."""
        if not getattr(model, "asynchronous", False):
            return await self._threads.run(model, inputs, outputs, seconds)
        # A task of its own: the caller may be driven outside of any, and must be able to leave it behind.
        try:
            task = eager(cast("AsyncPredictor", model).predict_async(inputs, outputs))
        except asyncio.CancelledError:
            raise RuntimeError("the model's code cancelled itself") from None
        if not isinstance(task, asyncio.Task):
            return task
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            self._give_up(task)
            raise
        if not task.done():
            self._give_up(task)
            raise DeadlinePassedError
        if task.cancelled():
            raise RuntimeError("the model's code cancelled itself")
        return task.result()

    def _give_up(self, task: asyncio.Task[list[Tensor]]) -> None:
        if task.done():
            _forget(task)
            return
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.add_done_callback(_forget)

    def close(self) -> None:
        """Let the threads end, and cancel what is still running on the loop."""
        self._threads.close()
        for task in list(self._ending):
            task.cancel()


def _forget(task: asyncio.Task[list[Tensor]]) -> None:
    """Nobody waits for the failure any more; asyncio would report it as lost."""
    if not task.cancelled():
        task.exception()
