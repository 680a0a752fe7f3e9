"""Progress of a fetch: counted in one place, told at a bounded rate."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Meter", "Phase", "Progress"]

Phase = Literal["listing", "downloading", "verifying", "unpacking", "placing", "done"]
_LOGGER: Final = logging.getLogger("pillion.storage")
_CALL_SECONDS: Final = 0.2
_LOG_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch has come.

    Attributes:
        phase: what is being done.
        done: bytes here already, those of an earlier, broken run included.
        total: bytes in all, None while not known.
        files_done: files complete.
        files_total: files in all, 0 while not known.
        bytes_per_second: since the fetch began, without what an earlier run had brought.
    """

    phase: Phase
    done: int
    total: int | None
    files_done: int
    files_total: int
    bytes_per_second: float

    @property
    def percent(self) -> float | None:
        """0 to 100; None while the total is not known."""
        if self.total is None:
            return None
        return 100.0 if self.total == 0 else min(100.0, 100.0 * self.done / self.total)


class Meter:
    """Counts bytes and files; calls back at most five times a second, logs at most every five seconds."""

    def __init__(
        self, uri: str, callback: Callable[[Progress], None] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._uri = uri
        self._callback = callback
        self._clock = clock
        self._began = clock()
        self._called = self._logged = float("-inf")
        self._phase: Phase = "listing"
        self._done = self._earlier = self._files_done = self._files_total = 0
        self._total: int | None = None
        self._offsets: dict[str, int] = {}

    def enter(self, phase: Phase) -> None:
        """Go over to another phase; always told."""
        self._phase = phase
        self._tell(now=self._clock(), force=True)

    def expect(self, *, total: int | None, files: int) -> None:
        """Set what is to come."""
        self._total, self._files_total = total, files

    def learn_total(self, total: int) -> None:
        """Set the bytes in all, which only the first answer told."""
        self._total = total

    def reach(self, file: str, offset: int, *, earlier: bool = False) -> None:
        """Note how far a file is; `earlier` where a run before this one brought it there."""
        count = offset - self._offsets.get(file, 0)
        self._offsets[file] = offset
        self._done += count
        self._earlier += count if earlier else 0
        self._tell(now=self._clock(), force=False)

    @property
    def done(self) -> int:
        """Bytes here, all files together."""
        return self._done

    def complete_file(self) -> None:
        """Count a file as complete."""
        self._files_done += 1

    @property
    def current(self) -> Progress:
        """The state now."""
        seconds = max(self._clock() - self._began, 1e-9)
        speed = max(0, self._done - self._earlier) / seconds
        return Progress(self._phase, self._done, self._total, self._files_done, self._files_total, speed)

    def _tell(self, *, now: float, force: bool) -> None:
        if self._callback is not None and (force or now - self._called >= _CALL_SECONDS):
            self._called = now
            self._callback(self.current)
        if force or now - self._logged >= _LOG_SECONDS:
            self._logged = now
            state = self.current
            _LOGGER.info(
                "%s %s",
                state.phase,
                self._uri,
                extra={
                    "fields": {
                        "event": "storage.progress",
                        "uri": self._uri,
                        "phase": state.phase,
                        "bytes": state.done,
                        "total": state.total,
                        "percent": None if state.percent is None else round(state.percent, 1),
                        "files": state.files_done,
                        "files_total": state.files_total,
                        "bytes_per_second": round(state.bytes_per_second),
                    }
                },
            )
