"""``--reload``: models written in Python are loaded again when their files change.

Looking a few times a second needs no library and works on every volume (see :mod:`pillion.server.watch`). The new code
is loaded beside the old and takes over when it is ready; code that cannot be loaded leaves the old one serving.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

from pillion.errors import PillionError
from pillion.server.watch import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.dataplane.call import ModelStatus
    from pillion.server.watch import Identity

__all__ = ["CodeReload", "ReloadingPlane"]

_log: Final = logging.getLogger(__name__)
_CLOCK_NS: Final = 20_000_000
"""Files take their moments from a clock that ticks as seldom as this: what comes after may seem to come before."""


class ReloadingPlane(Protocol):
    """What is needed of the data plane."""

    def code_files(self) -> Mapping[str, tuple[str, ...]]:
        """Files by name of the model."""
        ...

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """Of one model."""
        ...

    async def load(self, name: str) -> None:
        """Load a model again."""
        ...


class CodeReload:
    """Follows the files.

    Args:
        tell: told of each attempt: the model, the seconds it took, and why it failed (empty: it did not).
        interval: seconds between looks.
    """

    def __init__(self, tell: Callable[[str, float, str], None], *, interval: float = 0.3) -> None:
        self._tell = tell
        self._interval = interval

    async def watch(self, plane: ReloadingPlane) -> None:
        """Follow the files for ever."""
        known = _identities(plane.code_files())
        while True:
            await asyncio.sleep(self._interval)
            files = plane.code_files()
            now = _identities(files)
            changed = [name for name, own in files.items() if _differs(own, known, now)]
            began = time.time_ns() - _CLOCK_NS
            # At once: models that change a task they share agree with each other, not with what each was before.
            await asyncio.gather(*(self._again(plane, name) for name in changed))
            # What was followed before is known as it was before the load, so that an edit made meanwhile is seen at
            # the next look. What is new was read since: as it is, unless it has been written since, too, such as a
            # module that the load had found to be missing.
            known = _as_read(_identities(plane.code_files()), began) | now if changed else known | now

    async def _again(self, plane: ReloadingPlane, name: str) -> None:
        began = time.monotonic()
        try:
            await plane.load(name)
        except PillionError as error:
            _log.debug("reload failed: %s", error)
        self._tell(name, time.monotonic() - began, plane.status(name).reason)


def _identities(files: Mapping[str, Sequence[str]]) -> dict[str, Identity]:
    return {file: identity_of((file,)) for own in files.values() for file in own}


def _as_read(identities: Mapping[str, Identity], began: int) -> dict[str, Identity]:
    """The same, without saying how a file was that has been written since ``began`` (ns since the epoch)."""
    return {
        file: identity if all(one is None or one[2] < began for one in identity) else ()
        for file, identity in identities.items()
    }


def _differs(files: Sequence[str], known: Mapping[str, Identity], now: Mapping[str, Identity]) -> bool:
    return any(file in known and known[file] != now[file] for file in files)
