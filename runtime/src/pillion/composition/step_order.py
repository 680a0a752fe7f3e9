"""What a worker process is told about its step, and the step there: imported by nothing of the server."""

from __future__ import annotations

import importlib
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from pillion.composition.hints import Way
    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["CALL", "VALUE", "PlacedStep", "StepOrder"]

CALL: Final = "call"
VALUE: Final = "value"
"""Names on the wire: of the one thing that can be called, and of what it is called with."""


@dataclass(frozen=True, slots=True)
class StepOrder:
    """See :class:`~pillion.repository.processes.WorkerOrder`."""

    module: str
    attribute: str
    path: tuple[str, ...]
    log_level: int
    write_bytecode: bool
    cpus: tuple[int, ...] | None = None

    def load(self) -> tuple[PlacedStep, bytes]:
        """Import the step; a class of models is made and loaded."""
        from pillion.authoring.model import Model  # noqa: PLC0415 - after the worker has set its path
        from pillion.composition.hints import read  # noqa: PLC0415 - as above
        from pillion.composition.step import method_of  # noqa: PLC0415 - as above

        target: Any = importlib.import_module(self.module)
        for part in self.attribute.split("."):
            target = getattr(target, part)
        if isinstance(target, type) and issubclass(target, Model):
            instance = target()
            instance.load()
            target = getattr(instance, method_of(type(instance)))
        return PlacedStep(target, read(target).way), pickle.dumps(None)


class PlacedStep:
    """In the worker: what it answers calls with."""

    def __init__(self, target: Callable[[Any], Any], way: Way) -> None:
        self._target = target
        self._way = way
        self.tasks = {CALL: None}

    def begin(self, _task: None, arguments: Mapping[str, Any]) -> _Run:
        """See :class:`~pillion.backends.api.TaskModel`."""
        return _Run(self._target, arguments[VALUE], asynchronous=self._way.on_loop)

    def stream(self, _task: None, arguments: Mapping[str, Any]) -> _Stream:
        """See :class:`~pillion.backends.api.StreamModel`."""
        return _Stream(self._target, arguments[VALUE], asynchronous=self._way.on_loop)

    def close(self) -> None:
        """It goes with its process."""


class _Run:
    def __init__(self, target: Callable[[Any], Any], given: Any, *, asynchronous: bool) -> None:  # noqa: ANN401 - as the step declares
        self._target = target
        self._given = given
        self.asynchronous = asynchronous
        self.value: Any = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        del inputs, outputs, interrupt
        self.value = self._target(self._given)
        return []

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        del inputs, outputs
        self.value = await self._target(self._given)
        return []


class _Stream:
    def __init__(self, target: Callable[[Any], Any], given: Any, *, asynchronous: bool) -> None:  # noqa: ANN401 - as above
        self._target = target
        self._given = given
        self.asynchronous = asynchronous

    def run(self, put: Callable[[Any], bool]) -> None:
        items = self._target(self._given)
        try:
            for item in items:
                if not put(item):
                    break
        finally:
            items.close()

    async def items_async(self) -> AsyncIterator[Any]:
        items = self._target(self._given)
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()
