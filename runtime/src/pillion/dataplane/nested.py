"""What the user's own code in models works for, so that the calls of other models that it makes go with it.

They have its request's id, end with it, have its deadline, and cannot come back to a model that waits for them: it
might have no place left for the call that it waits for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pillion.errors import ErrorCode, PillionError
from pillion.execution.within import Within

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Sequence

    from pillion.backends.api import Predictor
    from pillion.dataplane.call import Call
    from pillion.dataplane.plane import DataPlane
    from pillion.dataplane.shared_calls import SharedItem
    from pillion.tracing.nested import Trace

__all__ = ["ModelCall", "OwnCode", "trace_of"]


class ModelCall(Within):
    """One call of a model's code, and what it works for (see :class:`~pillion.authoring.context.Working`).

    Args:
        model: the call.
        plane: where other models are.
        request_id: of what it is made for.
        deadline: when its time is up, on the monotonic clock; None: never.
        path: the models that wait for what it calls, itself the last.
        trace: its place in one.
    """

    __slots__ = ("deadline", "loop", "nested", "over", "path", "plane", "request_id", "trace")

    def __init__(
        self,
        model: Predictor,
        plane: DataPlane | None,
        request_id: str,
        deadline: float | None,
        path: tuple[str, ...],
        trace: Trace | None,
    ) -> None:
        super().__init__(model, None if plane is None else plane.answer)
        self.plane = plane
        self.request_id = request_id
        self.deadline = deadline
        self.path = path
        self.trace = trace
        self.loop = asyncio.get_running_loop()
        self.nested: set[concurrent.futures.Future[Any]] = set()
        self.over = False

    @property
    def working(self) -> ModelCall:
        """See :class:`~pillion.execution.within.Within`."""
        return self

    def end(self) -> None:
        """Nobody waits for it any more."""
        self.over = True
        if self.nested:
            for future in list(self.nested):
                future.cancel()


class OwnCode:
    """What makes calls of one model's code.

    Args:
        plane: where other models are.
        name: of the model.
    """

    def __init__(self, plane: DataPlane | None, name: str) -> None:
        self._plane = plane
        self._name = name
        self._alone: tuple[str, ...] = (name,)

    def call(self, model: Predictor, call: Call, deadline: float | None) -> ModelCall:
        """One of them.

        Raises:
            PillionError: it waits for itself.
        """
        path = self._alone
        if call.callers:
            self.check(call)
            path = (*call.callers, self._name)
        trace = None if call.times is None and call.trace is None else trace_of(call)
        return ModelCall(model, self._plane, call.request_id, deadline, path, trace)

    def check(self, call: Call) -> None:
        """Refuse a call that the model itself waits for.

        Raises:
            PillionError: with the way that it went.
        """
        if self._name in call.callers:
            raise _cycle(self._name, call.callers)

    def shared(self, model: Predictor, items: Sequence[SharedItem]) -> ModelCall:
        """One for many: with what they have in common."""
        ids = {item.call.request_id for item in items}
        deadlines = [item.deadline for item in items if item.deadline is not None]
        callers = dict.fromkeys(caller for item in items for caller in item.call.callers)
        return ModelCall(
            model,
            self._plane,
            ids.pop() if len(ids) == 1 else "",
            max(deadlines) if len(deadlines) == len(items) else None,
            (*callers, self._name),
            trace_of(items[0].call) if len(items) == 1 else None,
        )


def trace_of(call: Call) -> Trace | None:
    """Where the code of a call is: below another call's, or in the trace of its request."""
    if call.trace is not None:
        return call.trace
    return None if call.times is None else call.times.trace


def _cycle(name: str, callers: tuple[str, ...]) -> PillionError:
    caller = callers[-1]
    way = " -> ".join((*callers[callers.index(name) :], name))
    what = "itself" if caller == name else f"model {name!r}, which waits for it"
    return PillionError(
        ErrorCode.MODEL_FAILED, f"model {caller!r} calls {what}: {way}", remedy="call a model that none of them is"
    )
