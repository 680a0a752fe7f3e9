"""Who is turned away by which policy: ``python -m bench.overload_policies``.

Writes ``bench/results/overload-policies.md`` and ``.json``.

The server's own judgement (:mod:`pillion.dataplane.standing`) in front of a model of 2 ms and one slot, on a clock of
its own and with seeded callers, so that each run gives the same figures on any machine. An open loop at twice the
capacity is what is to be kept out; callers that wait for their answers, no more of them than the queue has places, are
what is not to be turned away. :mod:`bench.overload` measures the first of them on a real server.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.serving import BENCH
from pillion.dataplane.rate import ServiceRate
from pillion.dataplane.standing import Shedding

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS: Final = BENCH / "results"
CALL: Final = 0.002
"""Seconds of a call."""
PATIENT: Final = 0.1
"""Seconds after which a caller in a loop tries again: the least that ``Retry-After`` says."""
_SEED: Final = 7


@dataclass
class Server:
    """One slot, a queue, and what turns requests away from it."""

    shedding: Shedding | None
    max_queue: int
    free_at: float = 0.0
    rate: ServiceRate = field(default_factory=ServiceRate)
    waiting: deque[float] = field(default_factory=deque)
    """When the calls of those who wait begin."""
    waits: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    refused: int = 0

    def arrive(self, now: float) -> float | None:
        """When a request is done, None where it is turned away."""
        while self.waiting and self.waiting[0] <= now:
            self.waiting.popleft()
            self.rate.add(CALL)
        queued = len(self.waiting)
        if self.free_at > now:
            full = queued >= self.max_queue
            if full and self.shedding is not None:
                self.shedding.overflowed(now, self.rate)
            away = self.shedding is not None and self.rate.known and self.shedding.turns_away(
                now, queued, queued, self.rate, 1
            )  # fmt: skip
            if full or away:
                self.refused += 1
                return None
        start = max(now, self.free_at)
        self.waiting.append(start)
        self.waits.append(start - now)
        self.free_at = start + CALL
        self.done.append(self.free_at)
        return self.free_at


def open_loop(server: Server, load: float, seconds: float, began: float = 0.0) -> None:
    """Callers that know nothing of each other, ``load`` times the capacity."""
    chance = random.Random(_SEED)
    now = began
    while now < began + seconds:
        server.arrive(now)
        now += chance.expovariate(load / CALL)


def closed_loop(
    server: Server, callers: int, seconds: float, *, over: float = 0.0, again: float = PATIENT, began: float = 0.0
) -> None:
    """Callers that ask again when they are answered, or ``again`` seconds after a refusal.

    They begin within ``over`` seconds.
    """
    chance = random.Random(_SEED)
    order = itertools.count()
    due = [(began + chance.uniform(0, over), next(order)) for _ in range(callers)]
    heapq.heapify(due)
    while due[0][0] < began + seconds:
        now, _ = heapq.heappop(due)
        done = server.arrive(now)
        pause = chance.uniform(0.0, CALL / 4)  # until the next request is there
        heapq.heappush(due, ((now + again if done is None else done) + pause, next(order)))


def after_overload(server: Server, again: float) -> None:
    """Two seconds of twice the capacity, and then sixteen callers for whom the queue has room: only those count."""
    open_loop(server, 2.0, 2.0)
    server.waits.clear()
    server.done.clear()
    server.refused = 0
    closed_loop(server, 16, 16.0, again=again, began=2.0)


SCENARIOS: Final[dict[str, Callable[[Server], None]]] = {
    "open loop, a fifth of the capacity, 16 s": lambda server: open_loop(server, 0.2, 16.0),
    "open loop, twice the capacity, 16 s": lambda server: open_loop(server, 2.0, 16.0),
    "64 callers at once, 8 s": lambda server: closed_loop(server, 64, 8.0),
    "300 callers at once, 8 s": lambda server: closed_loop(server, 300, 8.0),
    "100 callers within a second, 8 s": lambda server: closed_loop(server, 100, 8.0, over=1.0),
    "16 callers after an overload": lambda server: after_overload(server, PATIENT),
    "the same, trying again at once": lambda server: after_overload(server, CALL / 4),
}
POLICIES: Final[dict[str, Callable[[], Server]]] = {
    "never (default)": lambda: Server(None, 512),
    "never, max_queue 128": lambda: Server(None, 128),
    "never, max_queue 4": lambda: Server(None, 4),
    "full": lambda: Server(Shedding(early=False), 512),
    "standing": lambda: Server(Shedding(early=True), 512),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scenario."""

    p99: float
    """Of the accepted, milliseconds."""
    goodput: float
    """Share of the model's time that was used."""
    refused: float
    """Share of what was asked."""


def outcome(policy: str, scenario: str) -> Outcome:
    """Run one."""
    server = POLICIES[policy]()
    SCENARIOS[scenario](server)
    times = sorted(wait + CALL for wait in server.waits)
    seconds = 8.0 if "8 s" in scenario else 16.0
    began = min(server.done) - CALL
    return Outcome(
        p99=round(1000 * times[int(0.99 * (len(times) - 1))], 1),
        goodput=round(sum(done <= began + seconds for done in server.done) * CALL / seconds, 2),
        refused=round(server.refused / (server.refused + len(times)), 3),
    )


def main() -> int:
    """Run all, print and write."""
    found = {scenario: {policy: outcome(policy, scenario) for policy in POLICIES} for scenario in SCENARIOS}
    head = (
        "`python -m bench.overload_policies`: the server's judgement on a clock of its own, a model of"
        f" {CALL * 1000:g} ms, one slot. Each cell: share refused, p99 of the accepted, share of the model's time used."
    )
    lines = [
        "# Who is turned away by which policy",
        "",
        head,
        "",
        f"| | {' | '.join(POLICIES)} |",
        f"|---{'|---' * len(POLICIES)}|",
    ]
    for scenario, outcomes in found.items():
        cells = [f"{one.refused:.1%}, {one.p99:g} ms, {one.goodput:.2f}" for one in outcomes.values()]
        lines.append(f"| {scenario} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (RESULTS / "overload-policies.md").write_text(text)
    rows = [
        {"scenario": scenario, "policy": policy, "refused": one.refused, "p99_ms": one.p99, "goodput": one.goodput}
        for scenario, outcomes in found.items()
        for policy, one in outcomes.items()
    ]
    (RESULTS / "overload-policies.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
