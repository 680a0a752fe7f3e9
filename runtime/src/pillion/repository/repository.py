"""Which models should be served, which are, and the way from one to the other.

Level-driven: :meth:`ModelRepository.apply` records what is desired, and one task per model version brings what is
loaded in line with it. A changed model is loaded beside the old one and takes over when it is warm; the old one is
closed when its last request has ended. A failed load leaves whatever was serving in place.

Everything but the loading itself happens on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.backends.api import ModelLoadError
from pillion.errors import ErrorCode, ModelRefused, PillionError
from pillion.model import ModelState
from pillion.repository import loader
from pillion.repository.aliases import Aliases
from pillion.repository.catalogue import Catalogue
from pillion.repository.entry import Entry, Key, pause_after
from pillion.repository.health import ModelHealth
from pillion.repository.loading import Loading
from pillion.repository.retiring import Retiring
from pillion.repository.room import Room
from pillion.repository.served import RepositorySettings, Served
from pillion.repository.upkeep import StillBusyError, configure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence

    from pillion.model import ModelStatus
    from pillion.runtimefile import DesiredModel

__all__ = ["ModelRepository"]

_log = logging.getLogger(__name__)
ASLEEP: Final = "not in memory; it is loaded by the next request"


class ModelRepository:
    """Model versions by name and version."""

    def __init__(
        self,
        settings: RepositorySettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings or RepositorySettings()
        self._clock = clock
        self._wall_clock = wall_clock
        self._entries: dict[Key, Entry] = {}
        self._aliases = Aliases()
        self._catalogue = Catalogue(self._entries, self._aliases, clock, wall_clock)
        self._loading = Loading(self._settings, self._entries)
        self._room = Room(self._entries, self._settings.memory_budget, self._loading.files_of, self._put_to_sleep)
        self._retiring = Retiring(self._closing)
        self._health = ModelHealth(self._settings, self._entries, clock, self._tell_health, self._anew)
        self._closed = False
        self.on_serving: Callable[[Served, float], None] = lambda _served, _seconds: None
        """Called when a loaded model starts to take requests, with the seconds its load took."""
        self.on_retired: Callable[[Served], None] = lambda _served: None
        """Called when it takes no more, before the wait for those in flight."""
        self.on_closing: Callable[[Served], None] = lambda _served: None
        """Called after that wait: requests that still hold it are to be ended."""
        self.on_forgotten: Callable[[str, str], None] = lambda _name, _version: None
        """Called when a version that was removed is gone."""
        self.on_evicted: Callable[[str, str], None] = lambda _name, _version: None
        """Called when a version is unloaded to make room for another."""
        self.on_aliased: Callable[[], None] = lambda: None
        """Called when versions answer to other names than before."""

    def serving(self) -> dict[tuple[str, str | None], Served]:
        """What answers each (name, version); version None is the newest one that is ready."""
        return self._catalogue.serving()

    def alias(self, name: str, aliases: Mapping[str, str]) -> None:
        """Let versions of a model answer to other names, too, from now on: a version by each alias."""
        self._aliases.set(name, aliases)
        self.on_aliased()

    async def apply(self, models: Sequence[DesiredModel]) -> None:
        """Make ``models`` the desired set and wait until each is loaded, or has failed to and says why.

        Removed models stop taking requests at once and are closed in the background. Never raises for a model.
        """
        wanted = {(model.name, model.version): model for model in models}
        steps: list[Coroutine[object, object, None]] = []
        for key, entry in list(self._entries.items()):
            if key not in wanted and not entry.managed:
                entry.removed = True
                steps.append(self._converge(key, entry))
        for key, model in wanted.items():
            known = self._entries.get(key)
            if known is None or known.removed:
                # A removed entry keeps its lock and its wait; the new one starts beside it.
                self._entries[key] = Entry(model, changed_at=self._wall_clock())
            elif known.desired != model:
                known.desired = model
                known.suspended = known.managed = known.lazy = known.asleep = False
            steps.append(self._converge(key, self._entries[key]))
        await asyncio.gather(*steps)

    async def add(self, model: DesiredModel, *, lazy: bool = False, keep: bool = False, guarded: bool = False) -> None:
        """Serve a version beside the declared ones, and return once it takes requests.

        Where it cannot be loaded it is as if it had never been asked for: what served serves on. With ``keep`` it
        stays, not ready, and says why, as a declared one would.

        Args:
            model: what to serve; its version is a new one.
            lazy: load it at its first request; its files are looked at then.
            keep: nothing else can take its place.
            guarded: for :meth:`declares` it counts as declared.

        Raises:
            PillionError: ``CONFLICT``; it is there already.
            ModelRefused: it cannot be loaded, and why.
        """
        key = (model.name, model.version)
        known = self._entries.get(key)
        if known is not None and not known.removed:
            raise PillionError(ErrorCode.CONFLICT, f"model {model.name!r} version {model.version!r} is served already")
        entry = Entry(model, changed_at=self._wall_clock(), managed=True, lazy=lazy, asleep=lazy)
        entry.guarded = guarded
        self._entries[key] = entry
        if lazy:
            self._change(entry, ModelState.UNAVAILABLE, ASLEEP)
            return
        await self._converge(key, entry)
        if entry.served is None:
            if not keep:
                self._entries.pop(key, None)
                self.on_forgotten(*key)
            raise ModelRefused(
                f"model {model.name!r} version {model.version!r} cannot be served: {entry.reason}",
                reason=entry.reason,
                cause=entry.cause,
            )

    async def remove(self, name: str, versions: Collection[str]) -> None:
        """Take versions that were added out of service, and return when their requests have ended.

        After the grace of an unload they are cut off. Versions that are declared or unknown are left alone.
        """
        going: list[Served] = []
        for key, entry in list(self._entries.items()):
            if key[0] == name and key[1] in versions and entry.managed:
                entry.removed = True
                if entry.served is not None:
                    going.append(entry.served)
                await self._converge(key, entry)
        for served in going:
            await self._retiring.gone(served=served)

    def added(self, name: str) -> tuple[str, ...]:
        """The versions of a model that were added and are not guarded, the newest first."""
        entries = ((version, self._entries[known, version]) for known, version in self._catalogue.keys(name))
        return tuple(version for version, entry in entries if entry.managed and not entry.guarded and not entry.removed)

    def declares(self, name: str) -> bool:
        """Whether a version of that name is there that was not added, or that was added guarded."""
        return any(key[0] == name and (not entry.managed or entry.guarded) for key, entry in self._entries.items())

    def holds(self, name: str) -> bool:
        """Whether a version of that name is there and stays, whoever brought it."""
        return any(key[0] == name and not entry.removed for key, entry in self._entries.items())

    def resident(self, name: str) -> int:
        """Bytes of memory that the versions of a name take, as far as that was measured."""
        return sum(entry.size for key, entry in self._entries.items() if key[0] == name and not entry.removed)

    def sleeps(self, name: str, version: str | None = None) -> bool:
        """Whether a version is there that only waits for a request to be loaded, or is being loaded for one."""
        return self._catalogue.sleeping(name, version) is not None

    def wake(self, name: str, version: str | None = None) -> asyncio.Task[None]:
        """Begin to load a version that sleeps; all who ask for it share the task, which nobody may cancel.

        The task ends when it is loaded, or has failed to. Its exception is ``NOT_READY``, where there is no room.
        """
        key = self._catalogue.sleeping(name, version)
        if key is None:
            raise self._catalogue.unknown(name)
        entry = self._entries[key]
        if entry.waking is None:
            entry.waking = asyncio.get_running_loop().create_task(self._wake(key, entry))
            entry.waking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return entry.waking

    async def _wake(self, key: Key, entry: Entry) -> None:
        try:
            await self._room.make(entry)
            entry.asleep = False
            entry.attempted = None
            await self._converge(key, entry)
            entry.failures = 0 if entry.served is not None else entry.failures + 1
            # What keeps it from being loaded may pass: a volume that was away, a file that was not complete.
            entry.retry_at = None if entry.served is not None else self._clock() + pause_after(entry.failures)
            self._room.trim(entry)
        finally:
            entry.waking = None

    def _put_to_sleep(self, key: Key, entry: Entry) -> None:
        served, entry.served = entry.served, None
        entry.asleep = True
        entry.attempted, entry.unhealthy = None, ""
        self._change(entry, ModelState.UNAVAILABLE, ASLEEP)
        if served is not None:
            self._retire(served, self._settings.unload_grace_seconds)
        _log.info("model %s version %s is unloaded to make room", *key, extra={"model": key[0]})
        self.on_evicted(*key)

    async def load(self, name: str) -> None:
        """Load every declared version of ``name`` (again) from its path.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; ``NOT_READY`` with the reason of the first version that failed.
        """
        entries = self._catalogue.named(name)
        for entry in entries.values():
            entry.suspended = entry.asleep = False
            entry.attempted = None
        # Who asked may leave meanwhile; a model must not be left between two states.
        await asyncio.shield(asyncio.gather(*(self._converge(key, entry) for key, entry in entries.items())))
        for (_, version), entry in entries.items():
            if entry.reason:
                raise PillionError(
                    ErrorCode.NOT_READY, f"model {name!r} version {version!r} could not be loaded: {entry.reason}"
                )

    async def unload(self, name: str) -> None:
        """Take every version of ``name`` out of service and wait until its requests have ended.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        entries = self._catalogue.named(name)
        for entry in entries.values():
            entry.suspended = True
        await asyncio.gather(*(self._converge(key, entry) for key, entry in entries.items()))
        await self._retiring.gone(name=name)

    def ready(self) -> bool:
        """Whether at least one model is wanted, and every wanted one serves and is healthy.

        One that was added lazily and could not be loaded by a request takes nothing else out of rotation, nor does one
        that was added and is unhealthy.
        """
        wanted = [entry for entry in self._entries.values() if not entry.suspended and not entry.removed]
        serves = [entry.state is ModelState.READY or entry.at_rest for entry in wanted]
        spared = (entry.managed and (entry.lazy or bool(entry.unhealthy)) for entry in wanted)
        required = (one or spare for one, spare in zip(serves, spared, strict=True))
        return any(serves) and all(required)

    def statuses(self) -> list[ModelStatus]:
        """Every known version, by name, oldest version first."""
        return self._catalogue.statuses()

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """One version; without ``version`` the newest that is ready, else the newest.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        return self._catalogue.status(name, version)

    def versions(self, name: str) -> tuple[str, ...]:
        """Ready versions of ``name``, oldest first.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        return self._catalogue.versions(name)

    def awaits_code(self) -> bool:
        """Whether a model written in Python is declared and not in memory."""
        handed = self._settings.classes
        return any(
            entry.served is None and (entry.desired.is_python or name in handed)
            for (name, _), entry in self._entries.items()
        )

    def code_files(self) -> dict[str, tuple[str, ...]]:
        """By name of each model written in Python: the files it was made of, or whose change may mend its load."""
        return {name: entry.files for (name, _), entry in self._entries.items() if entry.files}

    async def close(self) -> None:
        """Close every model. Requests in flight must have ended; loads under way are left to end by themselves."""
        self._closed = True
        for entry in self._entries.values():
            if entry.served is not None:
                self._retire(entry.served, 0.0)
                entry.served = None
        self._entries.clear()
        await self._retiring.gone()

    async def _converge(self, key: Key, entry: Entry) -> None:
        """Bring one version in line with what is wanted now. Calls for the same version run one after another."""
        async with entry.lock:
            if entry.removed or entry.suspended:
                self._take_out(key, entry)
            elif entry.attempted != entry.desired and not entry.asleep:
                if entry.takes_config:
                    await self._configure(key, entry)
                else:
                    await self._bring_in(key, entry)

    def _take_out(self, key: Key, entry: Entry) -> None:
        served, entry.served = entry.served, None
        entry.attempted, entry.unhealthy = None, ""
        if served is None:
            self._gone(key, entry)
            return
        self._change(entry, ModelState.UNLOADING, "")
        task = self._retire(served, self._settings.unload_grace_seconds)
        task.add_done_callback(lambda _task: self._gone(key, entry))

    def _gone(self, key: Key, entry: Entry) -> None:
        if entry.removed:
            if self._entries.get(key) is entry:
                del self._entries[key]
                self.on_forgotten(*key)
        elif entry.served is None and entry.suspended:
            self._change(entry, ModelState.UNAVAILABLE, "unloaded by management; load it to serve it again")

    async def _bring_in(self, key: Key, entry: Entry) -> None:
        desired = entry.desired
        if entry.served is None:
            self._change(entry, ModelState.LOADING, "")
        began = self._clock()
        try:
            served, found = await self._loading.load(key, entry)
        except ModelLoadError as error:
            entry.attempted = desired
            entry.files = tuple(dict.fromkeys((*entry.files, *error.files)))
            self._failed(key, entry, str(error), error.cause or "")
            return
        except Exception as error:  # noqa: BLE001 - a library may raise anything on a bad artifact; its owner is told
            entry.attempted = desired
            self._failed(key, entry, loader.describe_failure(error), trace=error)
            return
        if not self._closed:
            served.start()
            try:
                if desired.config:
                    await configure(served, desired.config, self._settings.unload_grace_seconds)
            except Exception as error:  # noqa: BLE001 - the author's method may raise anything; its owner is told
                served.close()
                entry.attempted = desired
                self._failed(key, entry, f"reconfigure: {loader.describe_failure(error)}", trace=error)
                return
            unhealthy = await self._health.first(key, served)
        if self._closed or entry.removed or entry.suspended:
            served.close()  # no longer wanted by the time it was loaded
            return
        entry.attempted = entry.loaded = desired
        entry.loaded_at = self._clock()
        seconds = entry.loaded_at - began
        former, entry.served, entry.format = entry.served, served, found
        entry.files = getattr(served.model, "files", ())
        entry.unhealthy = entry.refused = ""
        self._change(entry, ModelState.READY, "")
        self._tell_health(key, entry, unhealthy)
        self.on_serving(served, seconds)
        _log.info("model %s version %s is ready after %.2f s", *key, seconds, extra={"model": key[0]})
        if former is not None:
            self._retire(former, self._settings.unload_grace_seconds)

    def _failed(self, key: Key, entry: Entry, reason: str, cause: str = "", trace: Exception | None = None) -> None:
        state, said = ModelState.UNAVAILABLE, "model %s version %s cannot be served: %s"
        if entry.served is not None and not entry.unhealthy:
            state, said = ModelState.READY, "model %s version %s: %s"
            reason = f"the former model serves on, the new one failed: {reason}"
        _log.error(said, *key, reason, exc_info=trace, extra={"model": key[0], "version": key[1]})
        self._change(entry, state, reason, cause)

    async def watch_health(self) -> None:
        """Ask models of classes how they are, for ever."""
        await self._health.watch()

    def _tell_health(self, key: Key, entry: Entry, why: str) -> None:
        """Take note of what a model that serves says of itself."""
        if entry.unhealthy == why:
            return
        if why:
            _log.error("model %s version %s is unhealthy: %s", *key, why, extra={"model": key[0]})
            self._change(entry, ModelState.UNAVAILABLE, f"unhealthy: {why}", "Unhealthy")
        else:
            _log.info("model %s version %s is healthy again", *key, extra={"model": key[0]})
            self._change(entry, ModelState.READY, "")
        entry.unhealthy = why

    async def reconfigure(self, name: str, version: str, config: Mapping[str, Any]) -> int:
        """Give a version that serves another config, without loading it anew; how many worker processes took it.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; ``CONFLICT``: it has not ended with the one before.
            ModelRefused: it does not take it, and why; its former one counts.
        """
        entry = self._entries.get((name, version))
        if entry is None or entry.removed:
            raise self._catalogue.unknown(name)
        former = entry.desired
        entry.desired = wanted = msgspec.structs.replace(former, config=dict(config))
        await self._converge((name, version), entry)
        if entry.refused:
            if entry.desired is wanted:  # else something else is wanted meanwhile
                entry.desired = entry.attempted = former
            if entry.busy:
                raise PillionError(ErrorCode.CONFLICT, f"model {name!r} version {version!r}: {entry.refused}")
            raise ModelRefused(
                f"model {name!r} version {version!r} does not take its config: {entry.refused}",
                reason=entry.refused,
                cause="",
            )
        return entry.configured

    async def _configure(self, key: Key, entry: Entry) -> None:
        desired, served = entry.desired, entry.served
        entry.attempted, entry.refused, entry.busy, entry.configured = desired, "", False, 0
        if served is None:
            return
        try:
            entry.configured = await configure(served, desired.config, self._settings.unload_grace_seconds)
        except Exception as error:  # noqa: BLE001 - the author's method may raise anything; its owner is told
            entry.refused, entry.busy = loader.describe_failure(error), isinstance(error, StillBusyError)
            _log.error("model %s version %s kept its config", *key, exc_info=error, extra={"model": key[0]})
        else:
            _log.info("model %s version %s is reconfigured", *key, extra={"model": key[0]})
        if not entry.unhealthy:
            self._change(entry, ModelState.READY, f"kept its config: {entry.refused}" if entry.refused else "")

    async def _anew(self, key: Key, entry: Entry) -> None:
        entry.attempted = None
        await self._converge(key, entry)

    def _retire(self, served: Served, grace: float) -> asyncio.Task[None]:
        self.on_retired(served)
        return self._retiring.let_go(served, grace)

    def _closing(self, served: Served) -> None:
        self._health.forget(served)
        self.on_closing(served)

    def _change(self, entry: Entry, state: ModelState, reason: str, cause: str = "") -> None:
        entry.state, entry.reason, entry.cause, entry.changed_at = state, reason, cause, self._wall_clock()
