"""Methods of a class of the user's that are called for no request: ``check_health``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["PythonHealth"]


class PythonHealth:
    """One question for a model's health (see :class:`~pillion.backends.api.Predictor`).

    It raises what the method raises, and RuntimeError where that returns False; any other value means healthy.
    """

    def __init__(self, method: Callable[[], Any]) -> None:
        self._method = method
        self.asynchronous = inspect.iscoroutinefunction(method)
        self.value: None = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Ask."""
        del inputs, outputs, interrupt
        return _judged(self._method())

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """The same for a method that is ``async``."""
        del inputs, outputs
        return _judged(await self._method())


def _judged(answer: object) -> list[Tensor]:
    if answer is False:
        raise RuntimeError("check_health returned False")
    return []
