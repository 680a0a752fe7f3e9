"""The line in front of a model: whose turn it is, and who gives up its place where there is room for no more.

Requests have a rank, 0 for the highest. The highest goes first, and within a rank who came first. So that nobody waits
for ever, every eighth turn goes to who has waited longest, whatever its rank: the first of the lowest rank waits for
eight calls at most, however many others come.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.errors import PillionError

__all__ = ["InLine", "Line", "Place", "host_of", "loser"]

BY_AGE: Final = 8
"""Of so many turns one goes to who has waited longest."""


class InLine(Protocol):
    """What stands in the line for a slot."""

    rank: int
    arrived: float

    def take(self, *, by_age: bool) -> bool:
        """Begin, in a slot that is there for it; False where that is not needed any more.

        Args:
            by_age: it is its turn because it has waited longest.
        """
        ...


class Line:
    """Who stands for a slot. ``ranks`` is at least 1."""

    __slots__ = ("_ranks", "_turns", "length")

    def __init__(self, ranks: int) -> None:
        self._ranks: list[OrderedDict[InLine, None]] = [OrderedDict() for _ in range(ranks)]
        self._turns = 0
        self.length = 0

    def add(self, one: InLine) -> None:
        """At the end of its rank."""
        self._ranks[one.rank][one] = None
        self.length += 1

    def remove(self, one: InLine) -> bool:
        """Out of the line; whether it stood there."""
        if one not in self._ranks[one.rank]:
            return False
        del self._ranks[one.rank][one]
        self.length -= 1
        return True

    def next(self) -> tuple[InLine, bool]:
        """Take out whose turn it is, and whether that is because of its age. There is somebody."""
        self._turns += 1
        standing = [rank for rank in self._ranks if rank]
        # Of one that stands for many it decides who of them goes: it may stand alone.
        by_age = len(self._ranks) > 1 and self._turns % BY_AGE == 0
        first = min(standing, key=lambda rank: next(iter(rank)).arrived) if by_age else standing[0]
        one, _ = first.popitem(last=False)
        self.length -= 1
        return one, by_age

    def all(self) -> list[InLine]:
        """Everybody, in the order of ranks."""
        return [one for rank in self._ranks for one in rank]


class Place(Protocol):
    """A request that waits."""

    rank: int
    arrived: float

    @property
    def host(self) -> str:
        """Who sent it."""
        ...

    def give_up(self, error: PillionError) -> None:
        """End its wait."""
        ...


def host_of(client: Callable[[], str] | None) -> str:
    """The host of who sent a request; empty where that is not known.

    The same for HTTP (``10.0.0.1:5000``, ``::1:5000``) and gRPC (``ipv4:10.0.0.1:5000``, ``ipv6:[::1]:5000``, by grpcio
    ``ipv6:%5B::1%5D:5000``), and for a port that listens for both families.
    """
    if client is None:
        return ""
    host = client().rpartition(":")[0].removeprefix("ipv4:").removeprefix("ipv6:")
    return host.removeprefix("%5B").removesuffix("%5D").strip("[]").removeprefix("::ffff:")


def loser(places: Sequence[Place], rank: int, host: str) -> Place | None:
    """Who gives up its place to a new request; None where the new one is turned away itself. Pure.

    That is the last of the lowest rank, where the new one's is higher. Else, among those of the same rank, the last of
    the host that has most places, where that has at least two more than the new one's: so each host that asks gets a
    fair share of the queue, and one that asks alone gets all of it.
    """
    if not places:
        return None
    lowest = max(place.rank for place in places)
    if lowest > rank:
        return _last([place for place in places if place.rank == lowest])
    equals = [place for place in places if place.rank == rank]
    held = Counter(place.host for place in equals)
    if not held or (len(held) == 1 and host in held):
        return None
    greediest = max(held, key=held.__getitem__)
    if held[greediest] <= held[host] + 1:
        return None
    return _last([place for place in equals if place.host == greediest])


def _last(places: Sequence[Place]) -> Place:
    return max(reversed(places), key=lambda place: place.arrived)
