"""A composition as a model: a class with one task, of what its first step takes and its last one gives."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import numpy as np

from pillion.authoring.model import Model
from pillion.authoring.names import camel_case
from pillion.authoring.task import task
from pillion.composition.errors import EnsembleError, MapError, told
from pillion.composition.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.composition.composition import Composition

__all__ = ["model_of"]


def model_of(flow: Composition, name: str | None = None) -> type[Model]:
    """The class, called as the flow is in CamelCase, and its task as the flow.

    Args:
        flow: may be served several times; each has its own workers.
        name: what it is called where the flow has no name of its own.
    """
    called = flow.name if flow.name != flow.kind or name is None else name

    class Flow(Model):
        def load(self) -> None:
            self._session = Session(flow, called)
            self._session.open()

        def __pillion_close__(self) -> None:
            self._session.close()

    method: Callable[..., Any]
    if flow.streams:

        async def stream(self: Any, **arguments: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - as the steps declare
            async with aclosing(self._session.items(arguments[flow.parameter])) as items:
                async for item in items:
                    yield item

        method, gives = stream, AsyncIterator[flow.gives]  # type: ignore[name-defined]  # a hint that is made here
    else:

        async def answer(self: Any, **arguments: Any) -> Any:  # noqa: ANN401 - as above
            try:
                return await self._session.call(arguments[flow.parameter])
            except (EnsembleError, MapError) as error:
                raise told(error) from error

        method, gives = answer, flow.gives
    method.__doc__ = f"The flow {called}: {', '.join(step.name for step in flow.children)}."
    attribute = called.replace("-", "_")
    if _is_array(flow.takes) and _is_array(flow.gives) and not flow.streams:
        attribute = "predict"
    else:
        method = task(called)(method)
    _declare(method, flow, gives, attribute)
    setattr(Flow, attribute, method)
    Flow.__name__ = Flow.__qualname__ = camel_case(called)
    return Flow


def _declare(method: Any, flow: Composition, gives: Any, attribute: str) -> None:  # noqa: ANN401 - a function, a hint
    keyword = inspect.Parameter(flow.parameter, inspect.Parameter.KEYWORD_ONLY, annotation=flow.takes)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = inspect.Signature([own, keyword], return_annotation=gives)
    method.__annotations__ = {flow.parameter: flow.takes, "return": gives}
    method.__name__ = attribute


def _is_array(hint: Any) -> bool:  # noqa: ANN401 - a hint
    return hint is np.ndarray or getattr(hint, "__origin__", None) is np.ndarray
