"""Asking pods for what they count at `GET http://{pod}:8082/metrics`.

Answers are bounded in number, size and time, and never lead to another address. They are read line by line, so that
nobody's pods can fill the operator's memory. Whoever does not answer is None, which is not the same as one that has
nothing to do. Source: Prometheus text format 0.0.4.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import aiohttp

from pillion.podload import ALWAYS, SAMPLE, value_of
from pillion_operator.observe.pod_status import pieces
from pillion_operator.state.manifest import Manifest, is_reachable, uid_of
from pillion_operator.state.names import ADMIN_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MetricsReader", "Samples", "read_text"]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.5, connect=0.7)
_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_OF_A_LINE: Final = 64 * 1024
_AT_A_TIME: Final = 32


class Samples(Protocol[T_co]):
    """What is made of the samples of one answer."""

    @property
    def names(self) -> frozenset[str]:
        """The families that count; of others nothing is read."""

    def add(self, name: str, labels: str, value: float) -> None:
        """Take one sample."""

    def result(self) -> T_co:
        """Return what the samples come to."""


class MetricsReader(Generic[T]):
    """Reads what pods count, for as long as the session lives."""

    def __init__(
        self, session: aiohttp.ClientSession, samples: Callable[[], Samples[T]], port: int = ADMIN_PORT
    ) -> None:
        self._session = session
        self._samples = samples
        self._port = port
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def read(self, pods: Sequence[Manifest]) -> dict[str, T | None]:
        """Return what each pod counts, by its uid; None for one that did not answer."""
        found = await asyncio.gather(*(self._read(pod) for pod in pods))
        return {uid_of(pod): counts for pod, counts in zip(pods, found, strict=True)}

    async def _read(self, pod: Manifest) -> T | None:
        if not is_reachable(pod):
            return None
        lines, left = _Lines(self._samples()), _MOST_BYTES
        try:
            async with (
                self._slots,
                contextlib.aclosing(
                    pieces(self._session, pod, self._port, _TIMEOUT, _MOST_BYTES, "/metrics")
                ) as answer,
            ):
                async for piece in answer:
                    left -= len(piece)
                    if not lines.take(piece):
                        return None
        except (aiohttp.ClientError, TimeoutError):
            return None
        # What is cut off may be what counts.
        return lines.result() if left else None


def read_text(text: str, samples: Samples[T]) -> T | None:
    """Read a runtime's metrics; None where they are not a runtime's."""
    lines = _Lines(samples)
    return lines.result() if lines.take(text.encode()) else None


class _Lines(Generic[T]):
    """The lines of an answer. Only the last one, which may go on, is kept."""

    def __init__(self, samples: Samples[T]) -> None:
        self._samples = samples
        self._names = samples.names
        self._rest = b""
        self._ours = False

    def take(self, piece: bytes) -> bool:
        """Read what has come; whether it can still be a runtime's."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return len(self._rest) <= _MOST_OF_A_LINE and all(map(self._line, lines))

    def result(self) -> T | None:
        """Return what was read, after the last piece; None where it is not a runtime's."""
        return self._samples.result() if self._line(self._rest) and self._ours else None

    def _line(self, line: bytes) -> bool:
        found = SAMPLE.match(line.decode(errors="replace"))
        if found is None:
            return True
        name, labels, said = found.groups()
        self._ours = self._ours or name == ALWAYS
        if name not in self._names:
            return True
        value = value_of(said)
        if value is None:
            return False
        self._samples.add(name, labels or "", value)
        return True
