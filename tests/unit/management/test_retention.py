from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pillion.management.retention import Retention, surplus
from pillion.modelstore import ModelVersion

NOW = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)


def version(number: int, days_old: float = 0) -> ModelVersion:
    created = NOW - dt.timedelta(days=days_old)
    return ModelVersion("iris", str(number), "sha256:0", Path("x"), created, {}, 1, None)


def removed(retention: Retention, *ages: float, used: frozenset[str] = frozenset()) -> list[str]:
    versions = [version(number, age) for number, age in enumerate(ages, start=1)]
    return [found.version for found in surplus(versions, used, retention, NOW)]


@pytest.mark.parametrize(
    ("retention", "used", "expected"),
    [
        (Retention(), (), []),
        (Retention(versions=2), (), ["1", "2"]),
        (Retention(versions=2), ("1",), ["2"]),
        (Retention(versions=9), (), []),
        (Retention(seconds=15 * 86400), (), ["1", "2"]),
        (Retention(seconds=1), (), ["1", "2", "3"]),
        (Retention(versions=3, seconds=15 * 86400), (), ["1", "2"]),
        (Retention(versions=1, seconds=15 * 86400), ("2", "3"), ["1"]),
    ],
)
def test_what_goes_is_neither_new_nor_used(retention: Retention, used: tuple[str, ...], expected: list[str]) -> None:
    assert expected == removed(retention, 40, 20, 10, 5, used=frozenset(used))


def test_the_newest_stays_however_old_it_is() -> None:
    assert [] == removed(Retention(versions=1, seconds=1), 400)
    assert [] == removed(Retention(versions=1))
