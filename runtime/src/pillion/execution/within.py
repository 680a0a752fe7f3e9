"""Calls of the user's own code, and what they are made for: the calls of other models that they make go with them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

from pillion.authoring.context import CURRENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pillion.authoring.context import Working
    from pillion.backends.api import Predictor
    from pillion.execution.api import Interrupt
    from pillion.execution.messages import Ask
    from pillion.execution.mixed import AsyncPredictor
    from pillion.tensors import Tensor

    Answer = Callable[[Working, Ask], Awaitable[Any]]

__all__ = ["Within"]


class Within:
    """A call whose code finds out what it works for (see :class:`~pillion.backends.api.Predictor`).

    Args:
        model: the call.
        answer: makes the calls that its code asks for from a worker process.
    """

    __slots__ = ("answer", "asynchronous", "model")

    def __init__(self, model: Predictor, answer: Answer | None) -> None:
        self.model = model
        self.answer = answer
        self.asynchronous: bool = getattr(model, "asynchronous", False)

    @property
    @abstractmethod
    def working(self) -> Working:
        """What it works for."""

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Run it, in whichever thread this is."""
        token = CURRENT.set(self.working)
        try:
            return self.model.predict(inputs, outputs, interrupt)
        finally:
            CURRENT.reset(token)

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """Run it on the event loop, in a task of its own, whose context ends with it."""
        CURRENT.set(self.working)
        return await cast("AsyncPredictor", self.model).predict_async(inputs, outputs)
