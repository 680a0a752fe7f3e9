"""When a service may go without pods. No I/O, no clock of its own.

What is not known keeps pods: one that does not answer may be busy, and a leader that has just begun has seen nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.state.zero import Standing, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion_operator.scaling.decision import PodLoad

__all__ = ["LED_SECONDS", "Rest", "next_step"]

#: How long a Service leads to the activator before the last pod goes: until every node has heard of it.
LED_SECONDS: Final = 5.0


class Rest:
    """Since when nothing has been asked of a service."""

    def __init__(self) -> None:
        self._finished: dict[str, float] = {}
        self._since: float | None = None

    def look(self, now: float, pods: Mapping[str, PodLoad | None]) -> None:
        """Take what ready pods, by their uid, count; None stands for one that did not answer."""
        told = {uid: load for uid, load in pods.items() if load is not None}
        busy = len(told) < len(pods) or not told
        for uid, load in told.items():
            # A pod that is seen for the first time may have answered before.
            busy = busy or load.in_progress > 0 or load.jobs > 0 or load.finished != self._finished.get(uid, 0.0)
        self._finished = {uid: load.finished for uid, load in told.items()}
        if busy:
            self._since = None
        elif self._since is None:
            self._since = now

    def quiet_for(self, now: float) -> float | None:
        """Return for how long; None where something is on its way, or where it is not known."""
        return None if self._since is None else now - self._since


def next_step(standing: Standing, after: float) -> Step:
    """Return what is to be done with a service that may have no pods once it was quiet for `after` seconds."""
    if standing.wanted == 0 or standing.available == 0:
        # Who comes now is held until there is one that takes requests.
        return Step.LEAD
    if not standing.settled or standing.quiet_for is None or standing.quiet_for < after:
        return Step.WITHDRAW
    led = standing.led_for is not None and standing.led_for >= LED_SECONDS
    return Step.SLEEP if led else Step.LEAD
