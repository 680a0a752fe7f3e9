"""What a training is at, for `GET /status` of its pod."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PodStatus"]

_MOST_METRICS: Final = 50
_NAME: Final = 100


class PodStatus:
    """What is known; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {"phase": "starting"}
        self._metrics: dict[str, float] = {}

    def update(self, **known: Any) -> None:  # noqa: ANN401 - JSON
        """Take note; None takes a note back."""
        with self._lock:
            self._known |= known

    def logged(self, values: Mapping[str, float | None]) -> None:
        """Take the newest numbers; of more than fifty names the first count."""
        with self._lock:
            for name, value in values.items():
                known = name[:_NAME] in self._metrics or len(self._metrics) < _MOST_METRICS
                if known and value is not None and math.isfinite(value):
                    self._metrics[name[:_NAME]] = value

    @property
    def metrics(self) -> dict[str, float]:
        """The newest numbers by name."""
        with self._lock:
            return dict(self._metrics)

    def document(self) -> dict[str, Any]:
        """All of it."""
        with self._lock:
            known = {name: value for name, value in self._known.items() if value is not None}
            return {"training": {**known, "metrics": dict(self._metrics)}}
