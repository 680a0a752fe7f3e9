"""What is done about a model that says that it is unhealthy."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

from pillion.repository.health import Course, ModelHealth, judged
from pillion.repository.served import RepositorySettings


def mended_at(answers: dict[float, bool], limit: int) -> list[float]:
    """The times of the answers, healthy or not, after which the model is mended."""
    course, times = Course(), []
    for now, healthy in answers.items():
        course, mend = judged(course, healthy=healthy, now=now, limit=limit)
        if mend:
            times.append(now)
    return times


def test_so_many_failures_in_a_row_have_it_mended_and_a_good_answer_between_begins_anew() -> None:
    assert [30.0] == mended_at({10.0: False, 20.0: False, 30.0: False}, 3)
    assert [] == mended_at({10.0: False, 20.0: False, 30.0: True, 40.0: False, 50.0: False}, 3)


def test_one_that_stays_unhealthy_is_mended_ever_more_rarely() -> None:
    always = {float(now): False for now in range(1, 1000)}

    times = mended_at(always, 1)

    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0] == pauses[:8]


def test_nothing_is_mended_where_that_is_not_wanted() -> None:
    assert [] == mended_at({float(now): False for now in range(100)}, 0)


def test_a_good_answer_lets_the_next_failures_be_mended_at_once() -> None:
    assert [1.0, 3.0] == mended_at({1.0: False, 2.0: True, 3.0: False}, 1)


class Model:
    """One that cannot even be asked where `answer` is an exception."""

    checks = True

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def check_health(self) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Healthy:
    asynchronous = True

    async def predict_async(self, *_: Any) -> list[Any]:
        return []


class Served:
    executor = None

    def __init__(self, answer: Any) -> None:
        self.model = Model(answer)


def test_one_that_cannot_be_asked_is_unhealthy_and_the_others_are_asked() -> None:
    entries = {("a", "1"): Served(RuntimeError("can't start new thread")), ("b", "1"): Served(Healthy())}
    told: dict[str, str] = {}
    kept: dict[Any, Any] = {
        key: SimpleNamespace(served=served, removed=False, suspended=False) for key, served in entries.items()
    }

    async def unused(*_: Any) -> None: ...

    health = ModelHealth(
        RepositorySettings(health_failures=0), kept, lambda: 0.0, lambda key, _, why: told.update({key[0]: why}), unused
    )
    asyncio.run(health.look())

    assert {"a": "can't start new thread", "b": ""} == told
