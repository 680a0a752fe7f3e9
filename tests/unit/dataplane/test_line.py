"""Whose turn it is, and who gives up its place."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pillion.dataplane.line import Line, host_of, loser
from pillion.dataplane.ranks import Ranks


@dataclass(eq=False)
class One:
    """A request that waits."""

    rank: int
    arrived: float
    host: str = ""
    ended: list[Exception] = field(default_factory=list)

    def take(self, *, by_age: bool) -> bool:
        return not by_age

    def give_up(self, error: Exception) -> None:
        self.ended.append(error)


def line_of(ranks: int, *standing: One) -> Line:
    line = Line(ranks)
    for one in standing:
        line.add(one)
    return line


def test_the_highest_rank_goes_first_and_within_it_who_came_first() -> None:
    low, first, second = One(2, 0.0), One(0, 1.0), One(0, 2.0)
    line = line_of(3, low, first, second)
    assert [first, second, low] == [line.next()[0] for _ in range(3)]
    assert 0 == line.length


def test_every_eighth_turn_goes_to_who_has_waited_longest_whatever_comes() -> None:
    lows = [One(1, float(number)) for number in range(3)]
    line = line_of(2, *lows)
    turns = []
    for number in range(24):
        line.add(One(0, 100.0 + number))
        turns.append(line.next())
    assert [(low, True) for low in lows] == [turns[number] for number in (7, 15, 23)]
    assert 21 == sum(one.rank == 0 for one, _ in turns)


def test_who_steps_out_is_not_served() -> None:
    first, second = One(0, 0.0), One(0, 1.0)
    line = line_of(1, first, second)
    assert line.remove(first)
    assert not line.remove(first)
    assert (second, False) == line.next()


@pytest.mark.parametrize(("levels", "default", "asked", "rank"), [
    (0, 0, 1, 0),
    (3, 0, 1, 0),
    (3, 0, 3, 2),
    (3, 0, 0, 2),
    (3, 2, 0, 1),
    (3, 2, 99, 2),
    (3, 0, -1, 2),
])  # fmt: skip
def test_a_priority_is_a_level_or_the_default(levels: int, default: int, asked: int, rank: int) -> None:
    assert rank == Ranks(levels, default).of(asked)


def test_the_last_of_the_lowest_rank_makes_room_for_a_higher_one() -> None:
    last = One(2, 5.0)
    assert last is loser([One(0, 9.0), last, One(2, 4.0), One(1, 8.0)], 1, "")


def test_nobody_makes_room_for_an_equal_of_the_same_host() -> None:
    assert loser([One(0, 1.0, "a"), One(0, 2.0, "a")], 0, "a") is None
    assert loser([One(0, 1.0)], 1, "") is None
    assert loser([], 0, "") is None


def test_the_host_with_most_places_makes_room_until_both_have_as_many() -> None:
    places = [One(0, float(number), "many") for number in range(6)]
    taken = 0
    while (found := loser(places, 0, "few")) is not None:
        places.remove(found)  # type: ignore[arg-type] # they are all of this kind
        places.append(One(0, 10.0 + taken, "few"))
        taken += 1
    assert 3 == taken
    assert [0.0, 1.0, 2.0] == [place.arrived for place in places if place.host == "many"], "its last ones made room"


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("10.0.0.1", "10.0.0.1:5000"),
        ("10.0.0.1", "ipv4:10.0.0.1:5000"),
        ("10.0.0.1", "::ffff:10.0.0.1:5000"),
        ("10.0.0.1", "ipv6:%5B::ffff:10.0.0.1%5D:5000"),
        ("::1", "::1:5000"),
        ("::1", "ipv6:[::1]:5000"),
        ("::1", "ipv6:%5B::1%5D:5000"),
        ("", ""),
    ],
)
def test_a_host_is_an_address_without_its_port_and_the_same_over_http_and_grpc(host: str, client: str) -> None:
    assert host == host_of(lambda: client)


def test_a_host_that_is_not_known_is_empty() -> None:
    assert "" == host_of(None)
