"""What the admin port says of all workers, made of what each of them said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.server.front import judgement
from pillion.server.front.families import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from pillion.dataplane.live import LiveRequest
    from pillion.server.front.families import Family
    from pillion.server.front.judgement import Standing
    from pillion.server.front.messages import View

__all__ = ["Together"]


class Together:
    """An :class:`~pillion.server.admin.AdminView`, and a registry, of one moment.

    Args:
        standings: of every worker.
        views: of those that answered.
        families: what all have counted.
        version: of the runtime.
        draining: whether the server is on its way out.
        stopping: whether a stop has been asked for.
    """

    def __init__(
        self,
        standings: Sequence[Standing],
        views: Sequence[View],
        families: Sequence[Family],
        *,
        version: str,
        draining: bool,
        stopping: bool,
    ) -> None:
        self._standings = standings
        self._views = views
        self._families = families
        self._version = version
        self._draining = draining
        self._stopping = stopping

    def unready_reason(self) -> str:
        """Why the workers together should not get requests; empty when they should."""
        if self._stopping:
            return "draining: this process takes no new work"
        return judgement.unready_reason(self._standings)

    def ready(self) -> bool:
        """Whether they should."""
        return not self.unready_reason()

    def status(self) -> dict[str, Any]:
        """The document of ``/status``."""
        own = {"version": self._version, "draining": self._draining, "ready": self.ready()}
        return judgement.status(self._standings, [view.status for view in self._views], own)

    def live(self) -> list[LiveRequest]:
        """Requests that wait or run now, the oldest first."""
        found = [request for view in self._views for request in view.live or ()]
        return sorted(found, key=lambda request: -request.age)

    def register(self, collector: object) -> None:
        """Nothing: what workers count is all there is."""
        raise TypeError(f"{type(collector).__name__} cannot be added to what workers have counted")

    def collect(self) -> Iterator[Metric]:
        """What all have counted, in Prometheus' types."""
        return metrics(self._families)
