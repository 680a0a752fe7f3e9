"""Following a training over lost connections and restarts of its server: what is decided, for both façades."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pillion.client.errors import LOST, ClientError, ConnectionLost, NeverSent
from pillion.client.events import RENEWED
from pillion.client.exchange import Sleep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.client.core import Core
    from pillion.client.events import Event
    from pillion.client.exchange import Answer, Operation
    from pillion.client.services import Which

__all__ = ["PATIENCE", "Following", "JobEvent", "What"]

What = Literal["logs", "metrics"]
PATIENCE: Final = 300.0
"""Seconds."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_KINDS: Final[Mapping[str, Literal["log", "metrics", "state", "ended"]]] = {
    "log": "log",
    "metrics": "metrics",
    "job": "state",
    "end": "ended",
}


@dataclass(frozen=True, slots=True)
class JobEvent:
    """What a training that is followed tells.

    Attributes:
        kind: ``log``, with ``text``, and ``metrics``, with numbers by name, as it wrote them; ``state``, the job as it
            is now; ``lost``, with the ``reason`` why the server is not heard at the moment; ``ended``, the job as it
            stays, which is the last one.
        data: of that.
    """

    kind: Literal["log", "metrics", "state", "lost", "ended"]
    data: Mapping[str, Any]


class Following:
    """Where a reader of a training is, and whether it is worth to go on.

    Args:
        core: of the client.
        which: the training.
        what: what is read.
        patience: seconds without the server before it is given up.
    """

    def __init__(self, core: Core, which: Which, what: What, patience: float) -> None:
        self._core = core
        self._which = which
        self._what: What = what
        self._patience = patience
        self._behind = ""
        self._shown: Mapping[str, Any] = {}
        self._away_since: float | None = None
        self._pause = _FIRST_PAUSE
        self._renewed = False
        self._heard = False
        self.ended = False

    def begin(self) -> Operation[Answer]:
        """Begin to read, behind what has been read; after a loss, as soon as the server is there again.

        Raises:
            ClientError: it cannot be read, or the server is not there: at first at once, later for too long.
        """
        while True:
            if self._away_since is not None:
                yield Sleep(self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            try:
                return (yield from self._core.follow(self._which, self._what, self._behind))
            except LOST as failure:
                if self._away_since is None:
                    raise
                self._require_patience(failure)

    def heard(self, event: Event) -> JobEvent | None:
        """What an event means; None where it tells nothing new."""
        self._away_since = None
        self._heard, self._renewed = True, event is RENEWED
        kind = _KINDS.get(event.name)
        if event.id:
            self._behind, self._pause = event.id, _FIRST_PAUSE
        if kind is None or (kind == "state" and event.data == self._shown):
            return None
        if kind == "state":
            self._shown = event.data
        self.ended = kind == "ended"
        return JobEvent(kind, event.data)

    def lost(self, failure: ClientError | None) -> JobEvent | None:
        """The connection is gone; None: the server has closed it, as it does when it is told to stop. Tells nothing
        where it was given up for another one.

        Raises:
            ClientError: it has been away for too long, or was never there.
        """
        if failure is None and self._renewed:
            return None
        if isinstance(failure, NeverSent) and not self._heard:  # gRPC connects when it is read
            raise failure
        why = failure or ConnectionLost(f"{self._core.address.url} has ended the connection, and not the training")
        if self._away_since is None:
            self._away_since = time.monotonic()
        self._require_patience(why)
        return JobEvent("lost", {"reason": str(why)})

    def _require_patience(self, failure: ClientError) -> None:
        if self._away_since is not None and time.monotonic() - self._away_since > self._patience:
            raise failure
