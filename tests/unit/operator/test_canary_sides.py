"""How many pods two revisions have on the way between shares: whatever pods do, none goes that is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pillion_operator.analysis.sides import Side, Sides, next_split
from pillion_operator.state.plan import ReplicaBounds, Split

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What may happen between two looks: an event, and which of the pods, or what share, it is about.
EVENTS = st.lists(
    st.tuples(st.sampled_from(["ready", "ready", "ready", "fails", "share", "edit", "rolls back"]), st.integers(0, 99)),
    max_size=60,
)


@dataclass
class Pod:
    revision: int
    ready: bool = False


@dataclass
class Cluster:
    """Two Deployments as their controllers keep them: pods that are not ready go first, and new ones before old."""

    least: int
    percent: int = 0
    newest: int = 1
    lag: int = 0
    """How many ready pods are not known of yet."""
    room: int = 99
    """How many pods find a place; those of the last good revision that find none are told of."""
    stable: list[Pod] = field(default_factory=list)
    canary: list[Pod] = field(default_factory=list)
    wanted: int = 0
    template: int = 1
    split: Split = field(default_factory=lambda: Split(0, 0, 0))

    def __post_init__(self) -> None:
        self.stable = [Pod(0, ready=True) for _ in range(self.least)]

    @property
    def ready(self) -> int:
        return sum(pod.ready for pod in (*self.stable, *self.canary))

    def happens(self, event: str, which: int) -> None:
        pods = [*self.stable, *self.canary]
        pending = [pod for pod in pods if not pod.ready]
        serving = [pod for pod in pods if pod.ready]
        if event == "ready" and pending:
            pending[which % len(pending)].ready = True
        elif event == "fails" and serving:
            serving[which % len(serving)].ready = False
        elif event == "share":
            self.percent = which
        elif event == "edit":
            self.newest += 1
        elif event == "rolls back":
            self.percent = 0
        self._roll()

    def reconcile(self) -> None:
        """Do as the decision says."""
        known = sum(pod.ready for pod in self.canary)
        newest = sum(pod.ready and pod.revision == self.newest for pod in self.canary)
        serving = sum(pod.ready for pod in self.stable)
        sides = Sides(
            Side(len(self.stable), max(0, serving - self.lag)),
            Side(self.wanted, min(self.wanted, known + self.lag)),
            max(0, newest - self.lag),
            crowded=len(self.stable) + len(self.canary) > self.room and serving < len(self.stable),
        )
        self.split = next_split(self.percent, ReplicaBounds(self.least, None), sides)
        if not self.split.stands_in or self.template == self.newest:
            self.template = self.newest
        self.wanted = self.split.canary
        _scale(self.canary, self.wanted, self.template)
        # A count of the last good one follows the manifest, upwards and downwards.
        _scale(self.stable, self.split.stable, 0)
        self._roll()

    def _roll(self) -> None:
        """As the controller of the Deployment beside does with one more at a time and none less."""
        old = [pod for pod in self.canary if pod.revision != self.template]
        new = [pod for pod in self.canary if pod.revision == self.template]
        for pod in old:
            if not pod.ready or sum(one.ready for one in self.canary) > self.wanted:
                self.canary.remove(pod)
        missing = min(self.wanted - len(new), self.wanted + 1 - len(self.canary))
        self.canary += [Pod(self.template) for _ in range(max(0, missing))]


def _scale(pods: list[Pod], wanted: int, revision: int) -> None:
    pods.sort(key=lambda pod: pod.ready, reverse=True)
    del pods[wanted:]
    pods += [Pod(revision) for _ in range(wanted - len(pods))]


@given(least=st.integers(1, 8), lag=st.integers(0, 1), events=EVENTS)
@example(4, 0, [("share", 80), *[("ready", 0)] * 9, ("rolls back", 0)])
@example(4, 0, [("share", 80), *[("ready", 0)] * 9, ("share", 5), ("edit", 0)])
def test_no_pod_goes_that_the_service_has_to_have(least: int, lag: int, events: Sequence[tuple[str, int]]) -> None:
    cluster = Cluster(least, lag=lag)
    for event, which in events:
        cluster.happens(event, which)
        for _ in range(2):
            before = cluster.ready
            cluster.reconcile()
            assert cluster.ready >= min(before, least)


@given(least=st.integers(1, 8), events=EVENTS)
@example(4, [("share", 80), *[("ready", 0)] * 9, ("rolls back", 0)])
@example(4, [("share", 80), *[("ready", 0)] * 9, ("share", 5), ("edit", 0)])
def test_where_pods_only_become_ready_there_are_never_too_few(least: int, events: Sequence[tuple[str, int]]) -> None:
    cluster = Cluster(least)
    for event, which in events:
        if event != "fails":
            cluster.happens(event, which)
            cluster.reconcile()
            assert cluster.ready >= least


@given(least=st.integers(1, 8), lag=st.integers(0, 1), events=EVENTS)
def test_a_share_is_exceeded_only_by_pods_that_stand_in(
    least: int, lag: int, events: Sequence[tuple[str, int]]
) -> None:
    cluster = Cluster(least, lag=lag)
    for event, which in events:
        cluster.happens(event, which)
        lacking = least - sum(pod.ready for pod in cluster.stable) + lag
        cluster.reconcile()
        split = cluster.split
        if split.stands_in:
            assert split.canary <= lacking
            assert split.stable == least
        else:
            assert split.canary - (split.canary + split.stable) * split.percent / 100 < 1
            assert split.weight <= split.percent


@given(least=st.integers(1, 8), events=EVENTS)
def test_once_all_pods_are_ready_each_revision_has_what_was_asked_for(
    least: int, events: Sequence[tuple[str, int]]
) -> None:
    cluster = Cluster(least)
    for event, which in events:
        cluster.happens(event, which)
        cluster.reconcile()

    for _ in range(4 * least + 4):
        for pod in (*cluster.stable, *cluster.canary):
            pod.ready = True
        cluster.happens("ready", 0)
        cluster.reconcile()

    assert not cluster.split.stands_in
    assert cluster.percent == cluster.split.percent
    assert all(pod.ready and pod.revision == cluster.newest for pod in cluster.canary)
    asked = next_split(cluster.percent, ReplicaBounds(least, None), Sides(Side(least, least), newest=99))
    assert (asked.canary, asked.stable) == (len(cluster.canary), len(cluster.stable))


FOUR = ReplicaBounds(4, None)


@pytest.mark.parametrize(
    ("canary", "weight", "serving"),
    [(3, 75, 1), (2, 50, 2), (1, 25, 3), (0, 0, 4)],
)
def test_one_goes_for_each_that_comes_back_and_a_gateways_weights_with_it(
    canary: int, weight: int, serving: int
) -> None:
    found = next_split(0, FOUR, Sides(Side(4, serving), Side(4, 4), 4))

    assert (canary, weight, 4, canary > 0) == (found.canary, found.weight, found.stable, found.stands_in)


def test_pods_that_do_not_serve_stand_in_for_nobody() -> None:
    assert 0 == next_split(0, FOUR, Sides(Side(4, 1), Side(4, 0))).canary
    assert 2 == next_split(0, FOUR, Sides(Side(4, 1), Side(4, 2), 2)).canary


@pytest.mark.parametrize("bounds", [ReplicaBounds(4, 0), ReplicaBounds(0, None)])
def test_a_service_that_is_to_have_no_pods_keeps_none(bounds: ReplicaBounds) -> None:
    assert 0 == next_split(80, bounds, Sides(Side(0, 0), Side(4, 4), 4)).canary


@pytest.mark.parametrize("percent", [51, 80, 99])
def test_in_a_cluster_that_is_full_those_that_come_back_find_room(percent: int) -> None:
    cluster = Cluster(4)
    for share in (percent, 0):
        cluster.percent = share
        # On the way up there was room for more than there is now.
        for _ in range(20):
            cluster.reconcile()
            placed = [*filter(lambda pod: pod.ready, (*cluster.stable, *cluster.canary))]
            for pod in (*cluster.stable, *cluster.canary):
                if not pod.ready and len(placed) < cluster.room:
                    pod.ready = True
                    placed.append(pod)
            assert cluster.ready >= 3
        cluster.room = cluster.ready

    assert (4, 0, False) == (cluster.ready, len(cluster.canary), cluster.split.stands_in)


@pytest.mark.parametrize("crowded", [False, True])
def test_the_only_pod_that_serves_goes_for_none_that_may_never_find_room(crowded: bool) -> None:  # noqa: FBT001 - by pytest
    only = Sides(Side(1, 0), Side(1, 1), 1, crowded=crowded)
    back = Sides(Side(1, 1), Side(1, 1), 1, crowded=crowded)

    assert 1 == next_split(0, ReplicaBounds(1, None), only).canary
    assert 0 == next_split(0, ReplicaBounds(1, None), back).canary
    # Of several the last one stays, too.
    assert 1 == next_split(0, ReplicaBounds(2, None), Sides(Side(2, 0), Side(1, 1), 1, crowded=True)).canary


def test_a_pod_that_was_lost_with_its_node_waits_for_no_stand_in() -> None:
    assert 1 == next_split(0, FOUR, Sides(Side(4, 3), Side(1, 1), 1)).canary
    assert 0 == next_split(0, FOUR, Sides(Side(4, 3), Side(1, 1), 1, crowded=True)).canary


def test_a_scaler_that_asked_for_more_gets_as_many_before_the_others_go() -> None:
    bounds = ReplicaBounds(2, 10, autoscaled=True)

    assert 3 == next_split(0, bounds, Sides(Side(6, 3), Side(6, 6), 6)).canary
    assert 0 == next_split(0, bounds, Sides(Side(6, 6), Side(6, 6), 6)).canary


def test_a_gateway_gives_the_newest_as_much_as_it_has_pods() -> None:
    assert [0, 20, 80] == [next_split(80, FOUR, Sides(Side(4, 4), Side(4, n), n)).weight for n in (0, 1, 4)]
