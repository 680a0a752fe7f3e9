"""The executor behind ``executor: auto``: on the event loop or in threads, as the model's calls turn out."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from pillion.execution.placement import InlineLimits, Measured, Placement, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.backends.api import Predictor
    from pillion.execution.api import Interrupt
    from pillion.execution.thread import ThreadExecutor
    from pillion.tensors import Tensor

__all__ = ["AdaptiveExecutor", "Timed"]

_log = logging.getLogger(__name__)


class Timed:
    """A model whose calls are timed by the thread that runs them."""

    __slots__ = ("_model", "last")

    def __init__(self, model: Predictor) -> None:
        self._model = model
        self.last = Measured(0.0, 0.0)
        """The last call."""

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        began, cpu = time.perf_counter(), time.thread_time()
        try:
            return self._model.predict(inputs, outputs, interrupt)
        finally:
            self.last = Measured(time.thread_time() - cpu, time.perf_counter() - began)


class AdaptiveExecutor:
    """Runs calls on the loop while they are quick, in ``threads`` from the first slow one until they are quick again.

    ``name`` is the model's, for the log. ``placement`` is where to begin.
    """

    def __init__(
        self,
        name: str,
        threads: ThreadExecutor,
        placement: Placement = Placement.INLINE,
        limits: InlineLimits | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name = name
        self._threads = threads
        self._watch = Watch(placement, limits or InlineLimits())
        self._clock = clock

    @property
    def placement(self) -> Placement:
        """Where the next call will run."""
        return self._watch.placement

    @property
    def immediate(self) -> bool:
        """See :class:`~pillion.execution.api.Executor`."""
        return self._watch.placement is Placement.INLINE and self._threads.idle

    @property
    def abandoned(self) -> int:
        """See :class:`~pillion.execution.api.Executor`."""
        return self._threads.abandoned

    async def run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
    ) -> list[Tensor]:
        """See :class:`~pillion.execution.api.Executor`."""
        if self._watch.placement is not Placement.INLINE:
            return await self._in_thread(model, inputs, outputs, seconds)
        started = self._clock()
        try:
            return model.predict(inputs, outputs, None)
        finally:
            elapsed = self._clock() - started
            if self._watch.slow(elapsed):
                _log.warning("model %s: a call took %.1f ms; its calls now run in threads", self._name, elapsed * 1e3)

    async def _in_thread(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
    ) -> list[Tensor]:
        timed = Timed(model)
        result = await self._threads.run(timed, inputs, outputs, seconds)
        if self._watch.placement is Placement.THREAD and self._watch.proven(timed.last):
            _log.info("model %s: its calls are quick and now run on the event loop", self._name)
        return result

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()
