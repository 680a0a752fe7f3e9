from __future__ import annotations

import pytest

from pillion_operator.analysis.sides import split
from pillion_operator.state.plan import ReplicaBounds


@pytest.mark.parametrize("autoscaled", [False, True])
def test_a_share_is_never_exceeded_by_a_pod_or_more(*, autoscaled: bool) -> None:
    for percent in range(1, 100):
        for pods in range(1, 41):
            bounds = ReplicaBounds(pods, None, autoscaled=autoscaled)
            got = split(percent, bounds, pods, 0)
            settled = split(percent, bounds, pods, got.canary)
            total = settled.canary + (pods if autoscaled else settled.stable)

            assert settled.canary >= 1
            assert settled.stable >= 1
            assert settled.canary - total * percent / 100 < 1
            # Together never more than twice the pods that the service has.
            assert total <= 2 * pods


def test_the_last_good_one_gives_no_pod_up_before_the_others_are_available() -> None:
    bounds = ReplicaBounds(4, None)

    assert (4, 4) == (split(80, bounds, 4, 3).canary, split(80, bounds, 4, 3).stable)
    assert (4, 1) == (split(80, bounds, 4, 4).canary, split(80, bounds, 4, 4).stable)


def test_pods_that_somebodys_autoscaler_has_added_count_as_those_that_the_service_has() -> None:
    bounds = ReplicaBounds(2, None)

    asked = split(80, bounds, 10, 0)
    settled = split(80, bounds, 10, 10)

    assert 10 == asked.canary
    # The least stays what it was, so the count stays the autoscaler's.
    assert (10, 2) == (settled.canary, settled.stable)


@pytest.mark.parametrize(("percent", "stable", "most"), [(0, 3, None), (50, 0, None), (50, 3, 0)])
def test_there_is_no_pod_where_none_is_asked_for(percent: int, stable: int, most: int | None) -> None:
    assert 0 == split(percent, ReplicaBounds(3, most), stable, 0).canary
