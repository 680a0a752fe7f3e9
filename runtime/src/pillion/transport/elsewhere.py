"""Models that other pods of the service have: whom a request for one is passed to.

Any pod gets any request, since a Service knows nothing of models. A pod that does not have the model passes the request
on, once: what was passed on already is answered or refused where it is, so that no two pods send it to and fro.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final, Protocol

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.placementfile import Peer

__all__ = ["ABSENT", "CONNECT_SECONDS", "FORWARDED", "Elsewhere", "Peers"]

FORWARDED: Final = "x-pillion-forwarded"
"""On what a pod has passed on: its name."""
ABSENT: Final = "x-pillion-absent"
"""On the answer of a pod that does not have the model: it has done nothing, and another one may be asked."""
CONNECT_SECONDS: Final = 1.0
"""For a connection to a pod: one whose node is gone does not refuse it."""
_AVOIDED_SECONDS: Final = 5.0
"""How long a pod that cannot be reached is asked last."""
_RETRY_SECONDS: Final = 1.0


class Peers(Protocol):
    """Who knows the placement."""

    pod: str

    def knows(self, model: str) -> bool:
        """Whether some pod is to have that model."""
        ...

    def others(self, model: str) -> Sequence[Peer]:
        """The other pods that have it or are to have it."""
        ...

    def lacking(self, model: str) -> str:
        """Why pods lack it; empty where nothing is known."""
        ...


class Elsewhere:
    """Decides for each model whether this pod answers, and who else can.

    Args:
        peers: the placement.
        answers: whether a model is here and takes requests.
        count: told what became of each request that was passed on: ``answered``, ``nowhere``, ``lost``.
        clock: monotonic.
    """

    def __init__(
        self,
        peers: Peers,
        answers: Callable[[str], bool],
        count: Callable[[str], None] = lambda result: None,  # noqa: ARG005 - by default nobody counts
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._peers = peers
        self._answers = answers
        self._clock = clock
        self._turn = itertools.count()
        self._avoided: dict[str, float] = {}
        self.count = count

    @property
    def pod(self) -> str:
        """This pod's name."""
        return self._peers.pod

    def has(self, model: str) -> bool:
        """Whether the model is one of the placement, and not here."""
        return bool(model) and self._peers.knows(model) and not self._answers(model)

    def candidates(self, model: str) -> list[Peer]:
        """Whom to ask, in this order: each pod is the first in its turn, those that could not be reached are last."""
        peers, now = list(self._peers.others(model)), self._clock()
        if not peers:
            return []
        start = next(self._turn) % len(peers)
        turned = peers[start:] + peers[:start]
        return sorted(turned, key=lambda peer: self._avoided.get(peer.address, 0.0) > now)

    def avoid(self, peer: Peer) -> None:
        """Ask that pod last for a while: it could not be reached."""
        now = self._clock()
        self._avoided = {address: until for address, until in self._avoided.items() if until > now}
        self._avoided[peer.address] = now + _AVOIDED_SECONDS

    def absent(self, model: str) -> PillionError:
        """What is answered to a request that was passed on to this pod, which does not have the model."""
        return PillionError(
            ErrorCode.NOT_READY,
            f"model {model!r} is not in this pod now, and the request was passed on once already",
            remedy="try again",
            retry_after=_RETRY_SECONDS,
        )

    def nowhere(self, model: str) -> PillionError:
        """What is answered where no pod has it."""
        why = self._peers.lacking(model) or "it is on its way into a pod, or its pod has just gone"
        return PillionError(
            ErrorCode.NOT_READY,
            f"model {model!r} is declared, and no pod serves it now: {why}",
            remedy="try again; the status of the model has how far it is",
            retry_after=_RETRY_SECONDS,
        )

    def lost(self, model: str) -> PillionError:
        """What is answered where a pod took the request, and went away before it answered."""
        return PillionError(
            ErrorCode.NOT_READY,
            f"the pod that has model {model!r} took the request and did not answer; whether it was computed is unknown",
            remedy="try again",
            retry_after=_RETRY_SECONDS,
        )
