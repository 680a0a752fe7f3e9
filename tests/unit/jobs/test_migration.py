from __future__ import annotations

import pytest

from pillion._version import __version__
from pillion.jobs.migration import Step, StoreVersion, after, check_living, pending
from pillion.jobs.store import JobStoreError

STEPS = (Step("one", needs=1), Step("two", needs=2), Step("three"), Step("four", needs=3))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (StoreVersion(), "one two three four"),
        (StoreVersion(2, 2), "three four"),
        (StoreVersion(4, 3), ""),
        (StoreVersion(7, 4), ""),
    ],
)
def test_a_store_goes_through_what_it_has_not_been_through(found: StoreVersion, expected: str) -> None:
    assert expected.split() == [step.text for step in pending(found, STEPS, "the store", "name another")]


@pytest.mark.parametrize(
    ("writer", "said"),
    [("9.1", "was changed by Pillion 9.1 in a way"), ("", "was changed by a newer Pillion in a way")],
)
def test_a_store_that_needs_more_than_is_known_is_refused_with_who_changed_it(writer: str, said: str) -> None:
    with pytest.raises(JobStoreError, match=said):
        pending(StoreVersion(6, 5, writer), STEPS, "the store", "name another")


def test_what_a_store_needs_never_becomes_less() -> None:
    assert StoreVersion(3, 2, __version__) == after(StoreVersion(), STEPS[:3])
    assert StoreVersion(5, 4, __version__) == after(StoreVersion(4, 4, "9.1"), (Step("five", needs=2),))
    assert StoreVersion(4, 4, "9.1") == after(StoreVersion(4, 4, "9.1"), ())


@pytest.mark.parametrize("knows", [None, 3, 9])
def test_a_step_is_taken_where_nobody_is_left_behind(knows: int | None) -> None:
    check_living(STEPS[3], knows, "the store")


def test_a_step_that_would_leave_a_server_behind_is_refused_with_what_to_do() -> None:
    with pytest.raises(JobStoreError, match=r"they know 2 steps of its tables, and 3 are needed.*\(0 replicas\)"):
        check_living(STEPS[3], 2, "the store")
