"""One call of ``explain`` of a class of the user's, on its way through an executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.authoring.errors import ResultError
from pillion.authoring.results import plain
from pillion.authoring.values import AnyValue
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.authoring.explain import ExplainSignature
    from pillion.backends.python import PythonModel
    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["PythonExplainRun"]


class PythonExplainRun:
    """See :class:`~pillion.backends.api.ExplainRun`."""

    def __init__(self, model: PythonModel, explain: ExplainSignature) -> None:
        self._model = model
        self._method: Callable[..., Any] = getattr(model.instance, "explain")  # noqa: B009 - not part of Model
        self._explain = explain
        self.asynchronous = explain.asynchronous
        self.value: Any = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Call the method, in a thread."""
        del outputs, interrupt
        return self._keep(self._method(**self._model.arguments(inputs, self._explain.inputs)))

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """Await the method, on the event loop."""
        del outputs
        return self._keep(await self._method(**self._model.arguments(inputs, self._explain.inputs)))

    def _keep(self, answer: Any) -> list[Tensor]:  # noqa: ANN401 - what a user's code returned
        place = f"{self._model.definition.name}.explain"
        try:
            self.value = plain(answer, AnyValue(), f"{place} returned what is no JSON: it")
        except ResultError as error:
            remedy = "return numbers, text, lists and dicts of them"
            raise PillionError(ErrorCode.MODEL_FAILED, str(error), remedy=remedy) from None
        return []
