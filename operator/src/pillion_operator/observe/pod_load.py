"""How busy pods are, by what their runtimes count."""

from __future__ import annotations

from typing import Final

from pillion.podload import FINISHED, RUNNING, WAITING
from pillion_operator.observe.pod_metrics import read_text
from pillion_operator.scaling.decision import PodLoad

__all__ = ["LoadSamples", "load_of"]

#: By their state; those that have ended are counted as well.
_JOBS: Final = "pillion_jobs"
_UNFINISHED: Final = ('state="QUEUED"', 'state="RUNNING"')


class LoadSamples:
    """Adds up what models and applications of a pod have to do."""

    names: Final = frozenset((*RUNNING, *WAITING, *FINISHED, _JOBS))

    def __init__(self) -> None:
        self._sums = dict.fromkeys(self.names, 0.0)

    def add(self, name: str, labels: str, value: float) -> None:
        """Take one sample."""
        if name != _JOBS or any(state in labels for state in _UNFINISHED):
            self._sums[name] += value

    def result(self) -> PodLoad:
        """Return the load."""
        sums = self._sums
        waiting = sum(sums[name] for name in WAITING)
        finished = sum(sums[name] for name in FINISHED)
        return PodLoad(sum(sums[name] for name in RUNNING) + waiting, waiting, finished, sums[_JOBS])


def load_of(text: str) -> PodLoad | None:
    """Read a runtime's metrics; None where they are not a runtime's."""
    return read_text(text, LoadSamples())
