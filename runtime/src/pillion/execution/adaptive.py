"""The executor behind ``executor: auto`` for a model that warm-up measured as quick."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from pillion.execution.placement import InlineLimits, Placement, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.backends.api import Predictor
    from pillion.execution.api import Interrupt
    from pillion.execution.thread import ThreadExecutor
    from pillion.tensors import Tensor

__all__ = ["AdaptiveExecutor"]

_log = logging.getLogger(__name__)


class _Timed:
    """Presents a model whose calls are timed by the thread that runs them."""

    __slots__ = ("_model", "cpu", "elapsed")

    def __init__(self, model: Predictor) -> None:
        self._model = model
        self.cpu = 0.0
        self.elapsed = 0.0

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        elapsed, cpu = time.perf_counter(), time.thread_time()
        try:
            return self._model.predict(inputs, outputs, interrupt)
        finally:
            self.cpu = time.thread_time() - cpu
            self.elapsed = time.perf_counter() - elapsed


class AdaptiveExecutor:
    """Runs calls on the loop while they are quick, in ``threads`` from the first slow one until they are quick again.

    ``name`` is the model's, for the log.
    """

    def __init__(
        self,
        name: str,
        threads: ThreadExecutor,
        limits: InlineLimits | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name = name
        self._threads = threads
        self._watch = Watch(Placement.INLINE, limits or InlineLimits())
        self._clock = clock

    @property
    def placement(self) -> Placement:
        """Where the next call will run."""
        return self._watch.placement

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
        timed = _Timed(model)
        result = await self._threads.run(timed, inputs, outputs, seconds)
        if self._watch.placement is Placement.THREAD and self._watch.proven(timed.cpu, timed.elapsed):
            _log.info("model %s: its calls are quick again and run on the event loop", self._name)
        return result

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()
