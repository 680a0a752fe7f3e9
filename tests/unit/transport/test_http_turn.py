"""Requests of one turn of the loop: when they are answered, in what slices, and what one that fails does."""

from __future__ import annotations

import asyncio

import pytest

from pillion.transport.http.turn import Turn


class Connection:
    """Writes down what happens to it, in a journal that all share."""

    def __init__(self, name: str, journal: list[str], *, there: bool = True, fails: str = "") -> None:
        self.name = name
        self.journal = journal
        self.there = there
        self.fails = fails

    def compute(self) -> bool:
        self._note("compute")
        return self.there

    def settle(self) -> None:
        self._note("settle")

    def give_up(self, error: BaseException) -> None:
        self.journal.append(f"give up {self.name}: {error}")

    def _note(self, what: str) -> None:
        if self.fails == what:
            raise RuntimeError(what)
        self.journal.append(f"{what} {self.name}")


class Clock:
    """Stands still, or moves with each look."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


async def ended(turn: Turn, *connections: Connection) -> None:
    loop = asyncio.get_running_loop()
    for connection in connections:
        turn.add(connection, loop)
    assert not connections[0].journal  # nothing happens before the loop has read everything
    await asyncio.sleep(0)


async def test_all_are_computed_before_the_first_is_sent() -> None:
    journal: list[str] = []
    turn = Turn(Clock(0))
    await ended(turn, Connection("a", journal), Connection("b", journal, there=False), Connection("c", journal))
    assert ["compute a", "compute b", "compute c", "settle a", "settle c"] == journal


async def test_the_next_turn_begins_with_nothing() -> None:
    journal: list[str] = []
    turn = Turn(Clock(0))
    await ended(turn, Connection("a", journal))
    journal.clear()
    await ended(turn, Connection("b", journal))
    assert ["compute b", "settle b"] == journal


async def test_answers_are_sent_after_thirty_two_requests_at_the_latest() -> None:
    journal: list[str] = []
    await ended(Turn(Clock(0)), *(Connection(str(number), journal) for number in range(40)))
    assert 32 == journal.index("settle 0")
    assert 32 + 32 + 8 == journal.index("settle 32")


async def test_answers_are_sent_after_a_millisecond_at_the_latest() -> None:
    journal: list[str] = []
    await ended(Turn(Clock(0.0006)), *(Connection(str(number), journal) for number in range(4)))
    assert [
        "compute 0",
        "compute 1",
        "settle 0",
        "settle 1",
        "compute 2",
        "compute 3",
        "settle 2",
        "settle 3",
    ] == journal


@pytest.mark.parametrize("stage", ["compute", "settle"])
async def test_one_that_fails_ends_alone(stage: str) -> None:
    journal: list[str] = []
    turn = Turn(Clock(0))
    await ended(turn, Connection("a", journal), Connection("b", journal, fails=stage), Connection("c", journal))
    assert f"give up b: {stage}" in journal
    assert {"settle a", "settle c"} <= set(journal)
