"""What a training is given to talk to the world around it."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pillion.authoring.checkpoints import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pillion.authoring.checkpoints import Checkpoint
    from pillion.authoring.model import Model

__all__ = ["Run", "RunListener"]


class RunListener:
    """Who is told of what a training says. This one is told, and keeps quiet."""

    def metrics(self, values: dict[str, float]) -> None:
        """It has logged."""

    def progress(self, fraction: float) -> None:
        """It has got so far."""

    def checkpoint(self, number: int) -> None:
        """It has made a checkpoint that is on disk."""


class Run:
    """One run of a training::

        @train
        @classmethod
        def fit(cls, data: Stream[Example], epochs: int = 3, *, run: Run) -> Self:
            model, first = cls(), 0
            if (found := run.restore()) is not None:
                model.load(found.path)
                first = found.state["epoch"] + 1
            for epoch in range(first, epochs):
                run.log(loss=model.learn(data))
                run.checkpoint(model, epoch=epoch)
                run.progress((epoch + 1) / epochs)
                if run.cancelled:
                    break
            return model

    In a test, ``Run()`` is one that keeps what it was told: ``run.logged``, ``run.fraction``.

    Args:
        folder: where checkpoints go; by default a temporary one.
        listener: who is told.
        cancelled: set when somebody wants the training to stop.
    """

    def __init__(
        self,
        folder: Path | None = None,
        listener: RunListener | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._folder = folder
        self._listener = listener or RunListener()
        self._cancelled = cancelled or (lambda: False)
        self._lock = threading.Lock()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._checkpoints: Checkpoints | None = None
        self.logged: list[dict[str, float]] = []
        """What this run has logged."""
        self.fraction = 0.0
        """How far it is."""
        self.resumed_from: int | None = None
        """Number of the checkpoint that :meth:`restore` gave."""

    def log(self, **metrics: float) -> None:
        """Tell numbers of this moment: ``run.log(loss=0.3, accuracy=0.9)``.

        Raises:
            TypeError: one that is no number.
        """
        values: dict[str, float] = {}
        for name, value in metrics.items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                raise TypeError(f"run.log({name}=...): a number, not {type(value).__name__}") from None
            values[name] = number
        with self._lock:
            self.logged.append(values)
            self._listener.metrics(values)

    def progress(self, fraction: float) -> None:
        """Tell how far it is, from 0 to 1."""
        with self._lock:
            self.fraction = min(1.0, max(0.0, float(fraction)))
            self._listener.progress(self.fraction)

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it to stop. Look now and then, and return: after a grace it is killed."""
        return self._cancelled()

    def checkpoint(self, model: Model | None = None, **state: Any) -> int:  # noqa: ANN401 - JSON
        """Keep what a next run can go on from: what ``model.save`` writes, and ``state``. Gives its number.

        All of it is on disk when this returns, or, where it was killed meanwhile, the checkpoint before still is.

        Raises:
            TypeError: the state cannot be written as JSON.
            OSError: no room.
        """
        with self._checkpointing(state) as (number, folder):
            if model is not None:
                model.save(folder)
        return number

    @contextlib.contextmanager
    def checkpointing(self, **state: Any) -> Iterator[Path]:  # noqa: ANN401 - JSON
        """The same with files of one's own: ``with run.checkpointing(epoch=3) as folder: ...``."""
        with self._checkpointing(state) as (_, folder):
            yield folder

    @contextlib.contextmanager
    def _checkpointing(self, state: dict[str, Any]) -> Iterator[tuple[int, Path]]:
        with self._kept().writing(state) as (number, folder):
            yield number, folder
        with self._lock:
            self._listener.checkpoint(number)

    def restore(self) -> Checkpoint | None:
        """The newest checkpoint that is whole: its ``path`` and its ``state``. None in a first run."""
        found = self._kept().newest()
        self.resumed_from = None if found is None else found.number
        return found

    def _kept(self) -> Checkpoints:
        if self._checkpoints is None:
            if self._folder is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="pillion-run-")
                self._folder = Path(self._temporary.name)
            self._checkpoints = Checkpoints(self._folder)
        return self._checkpoints
