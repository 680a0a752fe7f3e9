"""Models that are declared while the server runs: a watched file says which, and this makes it so.

Each is fetched, verified and loaded beside what serves already; one that cannot be had takes nothing away, says why,
and is tried again, ever more seldom. A changed declaration takes over when its model is warm. Who wrote the file reads
at ``/status`` what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import random
import time
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from pillion import modelsfile
from pillion.errors import ModelRefused, PillionError
from pillion.management.declarations import desired, only_config, place_of
from pillion.management.sharedplaces import SharedPlaces
from pillion.modelsfile import DeclaredModel, FoundModels, RefusedModel
from pillion.storage.artifact import Artifact
from pillion.storage.errors import StorageError
from pillion.storage.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from pillion.management.declared_sources import DeclaredSources
    from pillion.management.placing import Placing
    from pillion.runtimefile import DesiredModel

__all__ = ["Declared", "DeclaredPlane", "Failure", "pause_after"]

_log = logging.getLogger(__name__)
_CONCURRENT_FETCHES: Final = 2
_SHORTEST, _LONGEST, _LASTING = 1.0, 60.0, 300.0
"""Seconds between attempts: after the first failure, at most where time may help, and where somebody has to act."""

_Wanted = DeclaredModel | RefusedModel
_Identity = tuple[tuple[int, int, int] | None, ...] | None
State = Literal["Fetching", "Loading", "Ready", "Failed", "Leaving"]


class DeclaredPlane(Protocol):
    """What is asked of the data plane."""

    async def add(self, model: DesiredModel, *, guarded: bool = False) -> None:
        """Serve a version beside what else there is."""
        ...

    async def remove(self, name: str, versions: Collection[str]) -> None:
        """Take versions that were added out of service."""
        ...

    async def reconfigure(self, name: str, version: str, config: Mapping[str, Any]) -> object:
        """Give a version that serves another config, without loading it anew."""
        ...

    def holds(self, name: str) -> bool:
        """Whether a version of that name is there, whoever brought it."""
        ...

    def resident(self, name: str) -> int:
        """Bytes of memory that its versions take, as far as that was measured."""
        ...


class Failure(msgspec.Struct, frozen=True):
    """Why a model is not served."""

    reason: str
    """A sentence with its remedy."""
    cause: str
    """One word for programs."""
    lasting: bool
    """Whether somebody has to act, as far as is known."""
    retry_after: float | None = None


class _Serving(msgspec.Struct, frozen=True):
    declared: DeclaredModel
    digest: str
    bytes: int = 0


class _Slot:
    """One name: what is wanted under it, what serves, and how far the way between is gone."""

    def __init__(self, wanted: _Wanted, now: float) -> None:
        self.wanted: _Wanted | None = wanted
        self.changed = asyncio.Event()
        self.serving: _Serving | None = None
        self.state: State = "Fetching"
        self.failure: Failure | None = None
        self.since = now
        self.tried = False
        self.places: set[str] = set()

    def want(self, wanted: _Wanted | None) -> None:
        if wanted != self.wanted:
            self.wanted = wanted
            self.changed.set()


def pause_after(attempt: int, failure: Failure, chance: float) -> float:
    """Seconds until the next attempt.

    Args:
        attempt: how many have failed, from 1.
        failure: the last one.
        chance: from 0 to 1, so that many pods do not come back at one moment.
    """
    longest = _LASTING if failure.lasting else _LONGEST
    pause = min(longest, _SHORTEST * 2.0 ** min(attempt - 1, 16))
    return max(pause * (0.75 + 0.5 * chance), failure.retry_after or 0.0)


class Declared:
    """The declared models of one server.

    Args:
        plane: what serves them.
        path: the file; there may be none, which means no models.
        folder: where their files are put.
        sources: where from, and with which credentials.
        placing: which of them are this pod's; None for all.
        interval: seconds between looks at the file.
    """

    def __init__(
        self,
        plane: DeclaredPlane,
        path: Path,
        folder: Path,
        sources: DeclaredSources,
        *,
        placing: Placing | None = None,
        interval: float = 0.5,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._plane = plane
        self._path = path
        self._places = SharedPlaces(folder)
        self._sources = sources
        self._placing = placing
        self._interval = interval
        self._wall_clock = wall_clock
        self._slots: dict[str, _Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetches = asyncio.Semaphore(_CONCURRENT_FETCHES)
        self._progress = asyncio.Event()
        self._begun = self._started = False
        self._known: _Identity = None
        self.error = ""
        """Why the file as it is now is not followed; empty when it is."""

    # --- what there is

    def waiting(self) -> str:
        """What the start still waits for: each model that was declared by then is tried once. Empty ever after."""
        if self._started:
            return ""
        names = sorted(name for name, slot in self._slots.items() if not slot.tried and slot.wanted is not None)
        placed = self._placing is None or self._placing.placed
        self._started = self._begun and placed and not names
        if self._begun and not placed:
            return "it is not decided yet which of the declared models this pod is to have"
        return "" if self._started else f"declared models are fetched and loaded: {', '.join(names) or 'reading them'}"

    async def tried(self) -> None:
        """Return when the start waits for nothing more."""
        while self.waiting():
            self._progress.clear()
            await self._progress.wait()

    def report(self) -> list[dict[str, Any]]:
        """Every declared model as it is, by name."""
        return [_reported(name, slot) for name, slot in sorted(self._slots.items())]

    # --- following the file

    async def begin(self) -> None:
        """Read the file, remove what earlier processes left, and begin to bring the models in."""
        self._known = await asyncio.to_thread(self._identity)  # before reading: what changes meanwhile is read again
        self._follow(await asyncio.to_thread(self._read))
        self._begun = True
        kept = {place_of(slot.wanted) for slot in self._slots.values() if isinstance(slot.wanted, DeclaredModel)}
        await asyncio.to_thread(self._places.sweep, kept)

    async def watch(self) -> None:
        """Follow the file for ever. One that cannot be used leaves the models as they are, and says so."""
        while True:
            await asyncio.sleep(self._interval)
            now = self._identity()
            if now != self._known:
                self._known = now
                self._follow(await asyncio.to_thread(self._read))

    async def close(self) -> None:
        """Leave off; what serves is the data plane's to close."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        self._places.close()

    def _identity(self) -> _Identity:
        return tuple(map(_stat, [self._path, *([] if self._placing is None else [self._placing.path])]))

    def _read(self) -> FoundModels | None:
        if self._placing is not None:
            # First: of a placement that is newer than the models, only what is declared is taken.
            self._placing.read()
            if self._placing.error:
                self.error = self._placing.error
                return None
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            self.error = ""
            return FoundModels()
        except OSError as error:
            self.error = f"{self._path}: cannot be read: {error}"
            return None
        try:
            found = modelsfile.load(text)
        except modelsfile.ModelsFileError as error:
            self.error = f"{self._path}: {error}"
            return None
        self.error = ""
        return found

    def _follow(self, file: FoundModels | None) -> None:
        if file is None:
            _log.error("kept the declared models as they are: %s", self.error)
            return
        if self._placing is not None:
            file = self._placing.share(file, self._slots.keys())
            self._progress.set()
        wanted: dict[str, _Wanted] = {model.name: model for model in file.models}
        wanted |= {model.name: model for model in file.refused}
        for name, slot in self._slots.items():
            slot.want(wanted.get(name))
        for name, model in wanted.items():
            if name not in self._slots:
                slot = self._slots[name] = _Slot(model, self._wall_clock())
                task = asyncio.get_running_loop().create_task(self._keep(name, slot))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    # --- one model

    async def _keep(self, name: str, slot: _Slot) -> None:
        """Bring one name in line with what is wanted under it, until nothing is."""
        attempt = 0
        while True:
            slot.changed.clear()
            wanted = slot.wanted
            if wanted is None:
                self._tell(slot, "Leaving")
                self._progress.set()
                await self._take_out(slot)
                await self._clean(slot)
                _log.info("declared model %s has left", name, extra={"model": name})
                if slot.wanted is None:
                    del self._slots[name]
                    return
                continue  # declared again meanwhile
            pause: float | None = None
            if slot.serving is None or slot.serving.declared != wanted:
                slot.failure = await self._brought_in(slot, wanted)
                if slot.wanted != wanted:
                    attempt = 0
                    continue
                slot.tried = True
                self._progress.set()
                if slot.failure is not None:
                    attempt += 1
                    self._tell(slot, "Failed")
                    pause = pause_after(attempt, slot.failure, random.random())  # noqa: S311 - jitter, no secret
                    _log.error("declared model %s: %s", name, slot.failure.reason, extra={"model": name})
            if pause is None:
                attempt = 0
                self._tell(slot, "Ready")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(slot.changed.wait(), pause)

    async def _brought_in(self, slot: _Slot, wanted: _Wanted) -> Failure | None:
        """The same, whatever goes wrong: one model must not end the others' keeping."""
        if isinstance(wanted, RefusedModel):
            return Failure(wanted.reason, "RuntimeNotSupported", lasting=True)
        try:
            return await self._bring_in(slot, wanted)
        except Exception as error:  # noqa: BLE001 - a defect with one model is told as any other failure
            _log.exception("declared model %s", wanted.name, extra={"model": wanted.name})
            return Failure(f"{type(error).__name__}: {error}"[:500], "ModelLoadFailed", lasting=False)

    async def _bring_in(self, slot: _Slot, wanted: DeclaredModel) -> Failure | None:
        """Fetch, load and switch; why that failed."""
        if slot.serving is None and self._plane.holds(wanted.name):
            reason = f"the server has a model {wanted.name!r} of its own; rename this one, or remove the other"
            return Failure(reason, "NameConflict", lasting=True)
        former = slot.serving
        if former is not None and only_config(former.declared, wanted):
            return await self._reconfigured(slot, former, wanted)
        self._tell(slot, "Fetching")
        place = place_of(wanted)
        slot.places.add(place)
        await asyncio.to_thread(self._places.hold, place)
        fetched = await self._fetched(slot, wanted)
        if not isinstance(fetched, Artifact):
            return fetched
        self._tell(slot, "Loading")
        if former is not None and former.declared.version == wanted.version:
            await self._take_out(slot)  # made anew under the same number
            former = None
        try:
            await self._plane.add(desired(wanted, fetched), guarded=True)
        except ModelRefused as error:
            return Failure(error.reason, error.cause or "ModelLoadFailed", lasting=bool(error.cause))
        except PillionError as error:
            return Failure(str(error), "ModelLoadFailed", lasting=False, retry_after=error.retry_after)
        slot.serving = _Serving(wanted, fetched.digest, max(fetched.size, self._plane.resident(wanted.name)))
        if former is not None:
            await self._plane.remove(wanted.name, [former.declared.version])
        await self._clean(slot, keep=place)
        return None

    async def _reconfigured(self, slot: _Slot, former: _Serving, wanted: DeclaredModel) -> Failure | None:
        """Give the config to what serves; why that failed, and the former one counts."""
        try:
            await self._plane.reconfigure(wanted.name, wanted.version, wanted.config)
        except ModelRefused as error:
            return Failure(f"it kept its config: {error.reason}", "ModelLoadFailed", lasting=False)
        except PillionError as error:
            return Failure(str(error), "ModelLoadFailed", lasting=False, retry_after=error.retry_after)
        slot.serving = msgspec.structs.replace(former, declared=wanted)
        return None

    async def _fetched(self, slot: _Slot, wanted: DeclaredModel) -> Artifact | Failure | None:
        """The files in place, or why not; None where something else is wanted before they are."""
        work = asyncio.create_task(self._fetch(wanted))
        changed = asyncio.create_task(slot.changed.wait())
        try:
            await asyncio.wait({work, changed}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        except StorageError as error:
            text = f"{error.message}; {error.remedy}"
            return Failure(text, error.reason.value, lasting=not error.transient, retry_after=error.retry_after)
        finally:
            for task in (work, changed):
                task.cancel()
            await asyncio.wait({work, changed})

    async def _fetch(self, wanted: DeclaredModel) -> Artifact:
        order = await asyncio.to_thread(self._sources.order, wanted)
        async with self._fetches:
            place = self._places.files(place_of(wanted))
            return await fetch(order.uri, place, order.options, environment=order.environ)

    async def _take_out(self, slot: _Slot) -> None:
        """End what serves with its last request."""
        serving, slot.serving = slot.serving, None
        if serving is not None:
            await self._plane.remove(serving.declared.name, [serving.declared.version])

    async def _clean(self, slot: _Slot, keep: str | None = None) -> None:
        """Remove files that nothing is served from any more."""
        for place in slot.places - {keep}:
            await asyncio.to_thread(self._places.leave, place)
        slot.places &= {keep}

    def _tell(self, slot: _Slot, state: State) -> None:
        if slot.state != state:
            slot.state, slot.since = state, self._wall_clock()


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _reported(name: str, slot: _Slot) -> dict[str, Any]:
    changed = dt.datetime.fromtimestamp(slot.since, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    described: dict[str, Any] = {"name": name, "state": slot.state, "changedAt": changed}
    if slot.wanted is not None:
        described["id"] = slot.wanted.id
    if slot.serving is not None:
        serving = slot.serving
        described |= {"serving": serving.declared.version, "digest": serving.digest, "bytes": serving.bytes}
    if slot.failure is not None and slot.state == "Failed":
        described |= {"reason": slot.failure.reason, "cause": slot.failure.cause, "lasting": slot.failure.lasting}
    return described
