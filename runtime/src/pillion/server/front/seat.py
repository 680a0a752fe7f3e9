"""A place for a front worker: whoever holds it is replaced when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.server.front.judgement import Standing

if TYPE_CHECKING:
    from pillion.server.front.messages import View
    from pillion.server.front.process import FrontProcess

__all__ = ["Seat"]


class Seat:
    """See the module's docstring."""

    __slots__ = ("failures", "holder", "number", "process", "starts")

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: FrontProcess | None = None
        self.holder = 0
        """Counts who keeps a worker here: whoever finds another number has been replaced."""
        self.starts = 0
        self.failures = 0
        """Starts in a row that came to nothing."""

    def standing(self, view: View | None) -> Standing:
        """How it is; ``view`` is what its worker just said."""
        process = self.process
        settled = process is not None and process.settled is not None
        silent = "does not answer" if settled else "is starting"
        return Standing(
            number=self.number,
            pid=0 if process is None else process.pid,
            starts=self.starts,
            settled=settled,
            accepting=settled or (self.starts == 0 if process is None else process.begin.at_once),
            ready=settled and view is not None and view.ready,
            reason=silent if view is None else view.reason,
        )
