"""One call on its way through the worker processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pillion.execution.asked import Asked
from pillion.execution.stream import StreamRun
from pillion.execution.within import Within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.api import Predictor
    from pillion.execution.worker_link import WorkerLink
    from pillion.tensors import Tensor

__all__ = ["Sent"]


class Sent:
    """See the module's docstring. Event loop's thread only."""

    __slots__ = (
        "abandoned", "answering", "asked", "counted", "deaths", "future", "inputs", "link", "model", "number",
        "outputs", "retry", "streams", "written",
    )  # fmt: skip

    def __init__(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        *,
        retry: bool,
        counted: bool = True,
    ) -> None:
        self.asked: Asked | None = None
        """What its code has asked for of other models, where it may."""
        if isinstance(model, Within):
            self.asked = Asked(model.working, model.answer)
            model = model.model
        self.model = model
        self.inputs = inputs
        self.outputs = outputs
        self.retry = retry
        """Whether it may be computed again when its worker has died over it."""
        self.counted = counted
        """Whether it is a request's: no other says how long those take, or that its worker serves."""
        self.future: asyncio.Future[list[Tensor]] = asyncio.get_running_loop().create_future()
        if self.asked is not None:
            self.future.add_done_callback(self.asked.end)
        self.link: WorkerLink | None = None
        """Where it is; None while it waits for a worker."""
        self.number = 0
        self.written = False
        """Whether the worker may have begun it."""
        self.streams = isinstance(model, StreamRun)
        self.answering = False
        """Whether items of its stream have come."""
        self.deaths = 0
        """Workers that died over it."""
        self.abandoned = False

    def fail(self, error: BaseException) -> None:
        """Tell its caller, if there still is one."""
        if not self.future.done():
            self.future.set_exception(error)

    def cannot_be_sent(self, error: Exception) -> None:
        """Arguments that cannot be serialised, no memory: it is the call's own failure."""
        failure = RuntimeError(f"the call cannot be sent to its worker process: {type(error).__name__}: {error}")
        failure.__cause__ = error
        self.fail(failure)
