"""Methods of a class of the user's that are called for no request: ``check_health`` and ``reconfigure``."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["PythonHealth", "PythonReconfigure", "PythonUpkeep"]


class PythonUpkeep:
    """One call of such a method (see :class:`~pillion.backends.api.Predictor`). It raises what the method raises."""

    def __init__(self, method: Callable[..., Any], *arguments: Any) -> None:  # noqa: ANN401 - the author's
        self._method = method
        self._arguments = arguments
        self.asynchronous = inspect.iscoroutinefunction(method)
        self.value: None = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Make the call."""
        del inputs, outputs, interrupt
        self._take(self._method(*self._arguments))
        return []

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """The same for a method that is ``async``."""
        del inputs, outputs
        self._take(await self._method(*self._arguments))
        return []

    def _take(self, answer: object) -> None:
        """Look at what the method gave."""


class PythonHealth(PythonUpkeep):
    """One question for a model's health; False is as bad as an exception, any other value means healthy."""

    def _take(self, answer: object) -> None:
        if answer is False:
            raise RuntimeError("check_health returned False")


class PythonReconfigure(PythonUpkeep):
    """One config to take; a copy, which is the method's own."""

    def __init__(self, method: Callable[..., Any], config: Mapping[str, Any]) -> None:
        super().__init__(method, copy.deepcopy(dict(config)))
