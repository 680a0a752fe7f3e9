"""What is done about a model that says that it is unhealthy."""

from __future__ import annotations

import asyncio
import itertools
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from pillion.backends.python_upkeep import PythonHealth
from pillion.repository.entry import Entry
from pillion.repository.health import Course, ModelHealth, judged
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.repository.entry import Key
    from pillion.repository.served import Served


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


def asked_by(check: Callable[[], Any]) -> Entry:
    """A version whose model says how it is by a method of that name."""
    model = SimpleNamespace(checks=True, check_health=lambda: PythonHealth(check))
    served = cast("Served", _Fake(model))
    return Entry(DesiredModel(name="m", path=""), served=served)


class _Fake:
    """What is asked of a model that serves."""

    executor = None

    def __init__(self, model: object) -> None:
        self.model = model


async def test_a_model_that_is_loaded_anew_keeps_no_other_from_being_asked() -> None:
    asked: list[None] = []
    loading, loaded = asyncio.Event(), asyncio.Event()

    async def reload(_key: Key, _entry: Entry) -> None:
        loading.set()
        await loaded.wait()

    entries = {("sick", "1"): asked_by(lambda: False), ("well", "1"): asked_by(lambda: asked.append(None))}
    settings = RepositorySettings(cpus=1, health_period_seconds=0.001, health_failures=1)
    health = ModelHealth(settings, entries, asyncio.get_running_loop().time, lambda *_: None, reload)
    watching = asyncio.create_task(health.watch())
    await until(loading.is_set)
    before = len(asked)

    await until(lambda: len(asked) > before + 3)

    watching.cancel()
    await asyncio.wait((watching,))


async def test_questions_that_hang_do_not_pile_up_while_their_model_is_loaded_anew() -> None:
    over, hanging, begun = threading.Event(), [0], [0]

    def hang() -> None:
        begun[0] += 1
        hanging[0] += 1
        over.wait()
        hanging[0] -= 1

    key = ("m", "1")
    entries = {key: asked_by(hang)}
    reloads: list[None] = []
    told: list[str] = []

    async def reload(_key: Key, entry: Entry) -> None:
        reloads.append(None)
        former, fresh = entry.served, asked_by(hang).served
        assert former is not None
        assert fresh is not None
        assert "did not answer" in await health.first(key, fresh)
        entry.served = fresh
        health.forget(former)

    settings = RepositorySettings(cpus=1, health_period_seconds=0.001, health_timeout_seconds=0.02, health_failures=1)
    clock = iter(range(0, 10**9, 1000))  # so long after each other that it may always be mended
    health = ModelHealth(settings, entries, lambda: float(next(clock)), lambda *_: told.append(_[2]), reload)
    watching = asyncio.create_task(health.watch())

    await until(lambda: len(reloads) == 4 and len(told) > 50 and begun[0] >= 5)  # the last in a thread of its own
    assert (4, 5, 5) == (len(reloads), hanging[0], begun[0])
    assert all("did not answer" in why for why in told)

    over.set()  # what was left behind is over, and so it is asked anew
    await until(lambda: not hanging[0] and begun[0] > 5)
    await until(lambda: not told[-1])
    watching.cancel()
    await asyncio.wait((watching,))


async def test_a_model_whose_former_selves_all_hang_is_not_asked() -> None:
    over = threading.Event()
    key = ("m", "1")
    settings = RepositorySettings(cpus=1, health_timeout_seconds=0.001)
    health = ModelHealth(settings, {}, asyncio.get_running_loop().time, lambda *_: None, lambda *_: asyncio.sleep(0))
    for _ in range(5):
        served = asked_by(over.wait).served
        assert served is not None
        await health.first(key, served)
        health.forget(served)
    fresh = asked_by(lambda: None).served
    assert fresh is not None

    assert "check_health of those before it hangs: it is not asked" == await health.first(key, fresh)
    over.set()
    health.forget(fresh)


async def test_a_model_that_cannot_be_asked_keeps_no_other_from_being_asked() -> None:
    asked: list[None] = []

    class Broken:
        executor = None

        @property
        def model(self) -> object:
            raise OSError("its file is gone")

    broken = Entry(DesiredModel(name="m", path=""), served=cast("Served", Broken()))
    entries = {("broken", "1"): broken, ("well", "1"): asked_by(lambda: asked.append(None))}
    settings = RepositorySettings(cpus=1, health_period_seconds=0.001)
    health = ModelHealth(
        settings, entries, asyncio.get_running_loop().time, lambda *_: None, lambda *_: asyncio.sleep(0)
    )
    watching = asyncio.create_task(health.watch())

    await until(lambda: len(asked) > 3)

    watching.cancel()
    await asyncio.wait((watching,))
