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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.backends.api import ModelLoadError
from pillion.errors import ErrorCode, ModelRefused, PillionError
from pillion.execution.cgroup import available_cpus
from pillion.model import ModelState
from pillion.repository import loader
from pillion.repository.aliases import Aliases
from pillion.repository.background import Background
from pillion.repository.entry import Entry, Key, pause_after, status_of
from pillion.repository.residency import artifact_bytes, resident_bytes
from pillion.repository.room import Room
from pillion.repository.served import RepositorySettings, Served
from pillion.repository.versions import newest_first
from pillion.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence

    from pillion.model import ModelStatus
    from pillion.runtimefile import DesiredModel

__all__ = ["ModelRepository"]

_log = logging.getLogger(__name__)
ASLEEP: Final = "not in memory; it is loaded by the next request"
_LONGEST_COMPARED: Final = 64
"""Characters up to which an unknown name is compared with the known ones: what anybody sends must stay cheap."""


class ModelRepository:
    """Model versions by name and version."""

    def __init__(
        self,
        settings: RepositorySettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings or RepositorySettings()
        self._cpus = self._settings.cpus or available_cpus()
        self._clock = clock
        self._wall_clock = wall_clock
        self._entries: dict[Key, Entry] = {}
        self._aliases = Aliases()
        self._room = Room(self._entries, self._settings.memory_budget, self._files_of, self._put_to_sleep)
        self._loading = Background("model-loader", self._settings.concurrent_loads)
        self._loads = self._begun = 0
        self._closed = False
        self._retiring: dict[Served, asyncio.Task[None]] = {}
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
        table: dict[tuple[str, str | None], Served] = {}
        for (name, version), entry in self._entries.items():
            if entry.served is not None:
                table[name, version] = entry.served
        for name in {name for name, _ in table}:
            newest = newest_first([version for known, version in table if known == name and version is not None])
            table[name, None] = table[name, newest[0]]
        return self._aliases.added_to(table)

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
        going: list[asyncio.Future[None] | asyncio.Task[None]] = []
        for key, entry in list(self._entries.items()):
            if key[0] == name and key[1] in versions and entry.managed:
                entry.removed = True
                served = entry.served
                await self._converge(key, entry)
                going += [task for kept, task in self._retiring.items() if kept is served]
        if going:
            await asyncio.wait(going)

    def added(self, name: str) -> tuple[str, ...]:
        """The versions of a model that were added and are not guarded, the newest first."""
        entries = ((version, self._entries[known, version]) for known, version in self._keys(name))
        return tuple(version for version, entry in entries if entry.managed and not entry.guarded and not entry.removed)

    def declares(self, name: str) -> bool:
        """Whether a version of that name is there that was not added, or that was added guarded."""
        return any(key[0] == name and (not entry.managed or entry.guarded) for key, entry in self._entries.items())

    def holds(self, name: str) -> bool:
        """Whether a version of that name is there and stays, whoever brought it."""
        return any(key[0] == name and not entry.removed for key, entry in self._entries.items())

    def sleeps(self, name: str, version: str | None = None) -> bool:
        """Whether a version is there that only waits for a request to be loaded, or is being loaded for one."""
        return self._sleeping(name, version) is not None

    def wake(self, name: str, version: str | None = None) -> asyncio.Task[None]:
        """Begin to load a version that sleeps; all who ask for it share the task, which nobody may cancel.

        The task ends when it is loaded, or has failed to. Its exception is ``NOT_READY``, where there is no room.
        """
        key = self._sleeping(name, version)
        if key is None:
            raise self._unknown(name)
        entry = self._entries[key]
        if entry.waking is None:
            entry.waking = asyncio.get_running_loop().create_task(self._wake(key, entry))
            entry.waking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return entry.waking

    def _meant(self, name: str, version: str | None) -> str | None:
        """The version that is asked for; None for whichever answers."""
        return version if version is None or (name, version) in self._entries else self._aliases.meant(name, version)

    def _sleeping(self, name: str, version: str | None) -> Key | None:
        version = self._meant(name, version)
        keys = self._keys(name) if version is None else [(name, version)]
        for key in keys:
            entry = self._entries.get(key)
            if entry is None or entry.removed or entry.suspended:
                continue
            if entry.at_rest or (entry.retry_at is not None and self._clock() >= entry.retry_at):
                return key
        return None

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

    async def _files_of(self, entry: Entry) -> int:
        return await self._loading.run(partial(artifact_bytes, Path(entry.desired.path)))

    def _put_to_sleep(self, key: Key, entry: Entry) -> None:
        served, entry.served = entry.served, None
        entry.asleep = True
        entry.attempted = None
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
        entries = self._named(name)
        for entry in entries.values():
            entry.suspended = entry.asleep = False
            entry.attempted = None
        await asyncio.gather(*(self._converge(key, entry) for key, entry in entries.items()))
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
        entries = self._named(name)
        for entry in entries.values():
            entry.suspended = True
        await asyncio.gather(*(self._converge(key, entry) for key, entry in entries.items()))
        # Its own only: where models come and go by requests, there is always some other that is being let go.
        going = [task for served, task in self._retiring.items() if served.desired.name == name]
        if going:
            await asyncio.wait(going)

    def ready(self) -> bool:
        """Whether at least one model is wanted and every wanted one serves.

        One that was added lazily and could not be loaded by a request takes nothing else out of rotation.
        """
        wanted = [entry for entry in self._entries.values() if not entry.suspended and not entry.removed]
        serves = [entry.state is ModelState.READY or entry.at_rest for entry in wanted]
        required = (one or (entry.managed and entry.lazy) for entry, one in zip(wanted, serves, strict=True))
        return any(serves) and all(required)

    def statuses(self) -> list[ModelStatus]:
        """Every known version, by name, oldest version first."""
        names = sorted({name for name, _ in self._entries})
        return [self._status(key) for name in names for key in reversed(self._keys(name))]

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """One version; without ``version`` the newest that is ready, else the newest.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        keys = self._keys(name)
        if not keys:
            raise self._unknown(name)
        meant = self._meant(name, version)
        if meant is not None:
            if (name, meant) not in self._entries:
                raise self._aliases.unknown(name, version or "", [key[1] for key in reversed(keys)])
            return self._status((name, meant))
        ready = [key for key in keys if self._entries[key].state is ModelState.READY]
        return self._status((ready or keys)[0])

    def versions(self, name: str) -> tuple[str, ...]:
        """Ready versions of ``name``, oldest first.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        self._named(name)
        return tuple(
            version
            for _, version in reversed(self._keys(name))
            if self._entries[name, version].state is ModelState.READY
        )

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
        await self._settle()

    async def _converge(self, key: Key, entry: Entry) -> None:
        """Bring one version in line with what is wanted now. Calls for the same version run one after another."""
        async with entry.lock:
            if entry.removed or entry.suspended:
                self._take_out(key, entry)
            elif entry.attempted != entry.desired and not entry.asleep:
                await self._bring_in(key, entry)

    def _take_out(self, key: Key, entry: Entry) -> None:
        served, entry.served = entry.served, None
        entry.attempted = None
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
            served, found = await self._loaded(entry)
        except ModelLoadError as error:
            entry.attempted = desired
            entry.files = tuple(dict.fromkeys((*entry.files, *error.files)))
            self._failed(key, entry, str(error), error.cause or "")
            return
        except Exception as error:  # noqa: BLE001 - a library may raise anything on a bad artifact; its owner is told
            entry.attempted = desired
            _log.exception("model %s version %s failed to load", *key, extra={"model": key[0], "version": key[1]})
            self._failed(key, entry, loader.describe_failure(error))
            return
        if self._closed or entry.removed or entry.suspended:
            served.close()  # no longer wanted by the time it was loaded
            return
        entry.attempted = desired
        entry.loaded_at = self._clock()
        seconds = entry.loaded_at - began
        former, entry.served, entry.format = entry.served, served, found
        entry.files = getattr(served.model, "files", ())
        self._change(entry, ModelState.READY, "")
        served.start()
        self.on_serving(served, seconds)
        _log.info("model %s version %s is ready after %.2f s", *key, seconds, extra={"model": key[0]})
        if former is not None:
            self._retire(former, self._settings.unload_grace_seconds)

    async def _loaded(self, entry: Entry) -> tuple[Served, str]:
        """The model, warm; what it takes of the memory is noted where there is a budget."""
        work = partial(loader.load, entry.desired, self._settings, self._cpus)
        if self._settings.memory_budget is None:
            return await self._loading.run(work)
        alone = self._loads == 0
        self._loads += 1
        self._begun += 1
        begun, before = self._begun, resident_bytes()
        try:
            loaded = await self._loading.run(work)
        finally:
            self._loads -= 1
        files = await self._files_of(entry)
        grown = resident_bytes() - before if alone and begun == self._begun else 0
        entry.size = max(files, grown, 1)
        return loaded

    def _failed(self, key: Key, entry: Entry, reason: str, cause: str = "") -> None:
        if entry.served is not None:
            reason = f"the former model serves on, the new one failed: {reason}"
            _log.error("model %s version %s: %s", *key, reason, extra={"model": key[0]})
            self._change(entry, ModelState.READY, reason, cause)
        else:
            _log.error("model %s version %s cannot be served: %s", *key, reason, extra={"model": key[0]})
            self._change(entry, ModelState.UNAVAILABLE, reason, cause)

    def _retire(self, served: Served, grace: float) -> asyncio.Task[None]:
        self.on_retired(served)
        task = asyncio.get_running_loop().create_task(self._close_when_idle(served, grace))
        self._retiring[served] = task
        task.add_done_callback(lambda _task: self._retiring.pop(served, None))
        return task

    async def _close_when_idle(self, served: Served, grace: float) -> None:
        if not await served.idle(grace):
            _log.warning(
                "model %s version %s: %d requests did not end within %.0f s of the unload and are cut off",
                served.desired.name, served.desired.version, served.references, grace,
            )  # fmt: skip
        self.on_closing(served)
        served.close()

    async def _settle(self) -> None:
        """Wait for models that are being let go."""
        while self._retiring:
            await asyncio.wait(set(self._retiring.values()))

    def _change(self, entry: Entry, state: ModelState, reason: str, cause: str = "") -> None:
        entry.state, entry.reason, entry.cause, entry.changed_at = state, reason, cause, self._wall_clock()

    def _unknown(self, name: str) -> PillionError:
        known = sorted({model for model, _ in self._entries}) if len(name) <= _LONGEST_COMPARED else []
        text = f"Request for unknown model: {name!r} is not declared here{nearest(name, known)}"
        return PillionError(ErrorCode.UNKNOWN_MODEL, text)

    def _named(self, name: str) -> dict[Key, Entry]:
        found = {key: entry for key, entry in self._entries.items() if key[0] == name}
        if not found:
            raise self._unknown(name)
        return found

    def _keys(self, name: str) -> list[Key]:
        """Keys of one model, newest version first."""
        return [(name, version) for version in newest_first([v for n, v in self._entries if n == name])]

    def _status(self, key: Key) -> ModelStatus:
        return status_of(key, self._entries[key], self._clock, self._wall_clock)
