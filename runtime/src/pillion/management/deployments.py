"""Deploying versions from the store, and taking them away again: what every transport's management calls.

A deployment is one step for whoever calls the model: the new version is loaded beside the old one, takes over when it
is warm, and the old one ends with its last request. Only then does the store say that the new one is deployed, so a
process that dies on the way comes back with the old one. A version that cannot be loaded changes nothing but what
:meth:`Deployments.information` tells, with the reason.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.management.arrivals import fetched, remote, unpacked
from pillion.management.audit import audited
from pillion.management.changes import Changes
from pillion.management.overview import Overview, unknown
from pillion.management.removal import purge_versions, remove_surplus
from pillion.model import ModelState
from pillion.modelstore import FailedLoad, ModelStore, check_name
from pillion.runtimefile import DesiredModel

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from pillion.management.audit import Who
    from pillion.management.information import ModelInfo
    from pillion.management.interfaces import NamingPlane, Order, StoreSettings
    from pillion.modelstore import Hold, ModelVersion, Staging

__all__ = ["Deployments", "Reconfigured"]

_log = logging.getLogger(__name__)


_LONGEST_KEYS: Final = 200


class Reconfigured(msgspec.Struct, frozen=True):
    """What has another config now."""

    model_id: str
    version: str
    processes: int
    """Worker processes that took it; 0 where the model is in the server's own, which took it."""


class Deployments:
    """The models that were deployed by requests.

    Args:
        plane: what serves them.
        settings: where they are kept.
        trainer: the served model whose class has a training of that name, with its code; what the training made is
            served as that model is. Raises ``NOT_FOUND`` where there is none.
    """

    def __init__(self, plane: NamingPlane, settings: StoreSettings, trainer: Callable[[str], DesiredModel]) -> None:
        self._plane = plane
        self._settings = settings
        self._trainer = trainer
        self._opened: ModelStore | None = None
        self._opening = asyncio.Lock()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._served: dict[tuple[str, str], tuple[ModelVersion, Hold]] = {}
        self._overview = Overview(self._served)
        self._configuring: set[tuple[str, str]] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self.changes = Changes()
        """Those that do not end where their caller leaves."""

    # --- what there is

    @property
    def has_store(self) -> bool:
        """Whether there is a folder to deploy from."""
        return self._settings.folder is not None

    async def store(self) -> ModelStore:
        """The store, opened by whoever needs it first.

        Raises:
            PillionError: ``PERMISSION_DENIED``, naming the setting that is missing; as :class:`ModelStore`.
        """
        folder = self._folder()
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(ModelStore, folder)
        return self._opened

    def _folder(self) -> Path:
        folder = self._settings.folder
        if folder is None:
            raise PillionError(
                ErrorCode.PERMISSION_DENIED,
                "This server has no folder to keep models in",
                field="models.store",
                remedy="set models.store (PILLION_MODELS__STORE) to a folder that outlives the process",
            )
        return folder

    async def restore(self) -> None:
        """Serve what was deployed when the process before this one ended."""
        if self._settings.folder is None:
            return
        store = await self.store()
        self._overview.failures.update(await asyncio.to_thread(store.failures))
        await asyncio.gather(*(self._restore(store, name) for name in await asyncio.to_thread(store.names)))

    async def _restore(self, store: ModelStore, name: str) -> None:
        try:
            async with self._locks[name]:
                version = await asyncio.to_thread(store.deployed_of, name)
                if version is None or self._plane.added(name):
                    return  # a request, which is answered before everything is restored, was quicker
                if self._plane.declares(name):
                    _log.error("model %s is deployed in the store and declared as well: what is declared serves", name)
                    return
                self._plane.alias(name, await asyncio.to_thread(store.aliases, name))
                await self._serve(store, version, keep=True)
                await self._prune(store, name)
        except PillionError as error:
            _log.error("model %s cannot be served again: %s", name, error)
            self._overview.failures[name] = FailedLoad("", str(error), dt.datetime.now(dt.UTC))

    async def information(self, names: Collection[str] = ()) -> list[ModelInfo]:
        """What is known of the models of these names, or of all.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; names it.
        """
        return await self._overview.information(self._plane.statuses(), names)

    def note(self, name: str, failure: FailedLoad | None) -> None:
        """Tell, with what is known of a model, why a version of it is not served; None: nothing is wrong any more."""
        if failure is None:
            self._overview.failures.pop(name, None)
        else:
            self._overview.failures[name] = failure

    async def aliases(self, name: str) -> dict[str, str]:
        """Version by alias of a model in the store.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; there is no version of it. As :meth:`store`.
        """
        store = await self.store()
        if not await asyncio.to_thread(store.versions, name):
            raise unknown(name, await asyncio.to_thread(store.names))
        return await asyncio.to_thread(store.aliases, name)

    # --- changes

    async def alias(self, name: str, alias: str, version: str | None, who: Who) -> dict[str, str]:
        """Let an alias mean a version from now on, in routes and in the store; None: nothing any more.

        Returns:
            Version by alias of that model.

        Raises:
            PillionError: ``UNKNOWN_MODEL``, ``INVALID_ARGUMENT``, ``CONFLICT`` where the name is a declared model's.
        """
        with audited("alias", name, who) as told:
            store = await self.store()
            self._require_ours(name)
            told |= {"alias": alias, "version": version or ""}
            async with self._locks[name]:
                known = await self.aliases(name)
                if version is None and alias not in known:
                    text = f"Request for unknown model: {name!r} has no alias {alias[:200]!r}"
                    raise PillionError(ErrorCode.UNKNOWN_MODEL, text, field="alias")
                await asyncio.to_thread(store.alias, name, alias, version)
                aliases = await asyncio.to_thread(store.aliases, name)
                self._plane.alias(name, aliases)
                return aliases

    async def _prune(self, store: ModelStore, name: str) -> None:
        """Remove versions of which more are there than are to be kept."""
        if not self._settings.retention.keeps_all:
            await asyncio.to_thread(remove_surplus, store, name, self._settings.retention)

    async def deploy(self, order: Order, staging: Staging, who: Who) -> ModelInfo:
        """Make what was put together the next version of a model, and serve it.

        Raises:
            PillionError: ``INVALID_ARGUMENT``; name, files or metadata are wrong, or it cannot be loaded.
                ``CONFLICT``; the name is a declared model's. ``STORAGE_FULL``.
        """
        with audited("deploy", order.name, who) as told:
            store = await self.store()
            self._require_ours(order.name)
            async with self._locks[order.name]:
                staged = await unpacked(store, staging)
                with staged:
                    register = partial(store.commit, staged, order.name, _metadata(order))
                    version = await asyncio.to_thread(register)
                told |= {"version": version.version, "digest": version.digest, "bytes": version.size}
                return await self._switch(store, version, fresh=True)

    async def fetch(self, order: Order, uri: str, digest: str | None, who: Who) -> ModelInfo:
        """The same with files from a bucket or the web.

        Raises:
            PillionError: as :meth:`deploy`; ``NOT_READY`` where another try may help.
        """
        with audited("deploy", order.name, who) as told:
            store = await self.store()
            self._require_ours(order.name)
            shown = remote(uri)
            told["uri"] = shown
            async with self._locks[order.name]:
                staging = await asyncio.to_thread(store.stage)
                with staging:
                    metadata = await fetched(staging, uri, digest) | {"storage_uri": shown}
                    complete = msgspec.structs.replace(order, metadata=dict(order.metadata) | metadata)
                    version = await asyncio.to_thread(partial(store.commit, staging, order.name, _metadata(complete)))
                told |= {"version": version.version, "digest": version.digest, "bytes": version.size}
                return await self._switch(store, version, fresh=True)

    async def deploy_version(self, name: str, which: str, who: Who) -> ModelInfo:
        """Serve a version that is in the store: one that training registered, or an earlier one again.

        Args:
            name: the model.
            which: version or alias.
            who: for the log.

        Raises:
            PillionError: as :meth:`deploy`; ``UNKNOWN_MODEL``.
        """
        with audited("deploy", name, who) as told:
            store = await self.store()
            self._require_ours(name)
            async with self._locks[name]:
                version = await asyncio.to_thread(store.get, f"{name}@{which}" if which else name)
                told["version"] = version.version
                if (name, version.version) in self._served:
                    if self._serves(version):
                        return await self._told(version)
                    await self._take_out(name, [version.version])  # restored, and could not be loaded then
                return await self._switch(store, version, fresh=False)

    def check_deployable(self, name: str) -> None:
        """Whether a model of that name could be deployed, as far as can be told before it is there.

        Raises:
            PillionError: ``PERMISSION_DENIED``; there is no store. ``CONFLICT``; the name is a declared model's.
        """
        self._folder()
        self._require_ours(name)

    async def reconfigure(self, name: str, version: str | None, config: Mapping[str, Any], who: Who) -> Reconfigured:
        """Give a version that serves another config, without loading it anew. It is kept in memory alone: after a
        restart, or a change of what is declared, it has the one that it is declared with.

        Args:
            name: the model, declared or deployed.
            version: None where the model has one.
            config: for its class.
            who: for the log.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; ``INVALID_ARGUMENT``: which version, or the class refuses it, and why.
                ``CONFLICT``: another one is being given. ``NOT_READY``: it does not serve.
        """
        with audited("reconfigure", name, who) as told:
            version = self._meant(name, version)
            told |= {"version": version, "keys": ",".join(sorted(map(str, config)))[:_LONGEST_KEYS]}
            if (name, version) in self._configuring:
                text = f"model {name!r} version {version!r} is being given another config; ask again when it has ended"
                raise PillionError(ErrorCode.CONFLICT, text)
            self._require_serving(name, version)  # or a load of some day would find a config that nobody was told of
            self._configuring.add((name, version))
            try:
                processes = await self._plane.reconfigure(name, version, config)
            finally:
                self._configuring.discard((name, version))
            told["processes"] = processes
            self._require_serving(name, version)
            return Reconfigured(name, version, processes)

    def _meant(self, name: str, version: str | None) -> str:
        known = [status.version for status in self._plane.statuses() if status.name == name]
        if not known:
            raise unknown(name, {status.name for status in self._plane.statuses()})
        if version is None:
            if len(known) == 1:
                return known[0]
            text = f"version: model {name!r} has several: {', '.join(known[:20])}; name one"
            raise PillionError(ErrorCode.INVALID_ARGUMENT, text, field="version")
        if version not in known:
            text = f"Request for unknown model: {name[:200]!r} has no version {version[:200]!r}"
            raise PillionError(ErrorCode.UNKNOWN_MODEL, text, field="version")
        return version

    def _require_serving(self, name: str, version: str) -> None:
        for status in self._plane.statuses():
            if (status.name, status.version) == (name, version) and status.state is ModelState.UNAVAILABLE:
                text = f"model {name!r} version {version!r} does not serve: {status.reason}"
                raise PillionError(ErrorCode.NOT_READY, text)

    async def undeploy(self, name: str, who: Who, *, purge: bool = False) -> None:
        """Take a model out of service and return when its requests have ended, within the grace of an unload.

        Args:
            name: the model.
            who: for the log.
            purge: remove its versions from the store, too.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; ``CONFLICT`` where it is declared.
        """
        with audited("undeploy", name, who) as told:
            check_name(name)
            store = await self.store()
            async with self._locks[name]:
                versions = await asyncio.to_thread(store.versions, name)
                added = self._plane.added(name)
                if not added and name not in self._overview.failures and not (purge and versions):
                    self._require_ours(name)
                    raise unknown(name, {status.name for status in self._plane.statuses()})
                if versions:
                    await asyncio.to_thread(store.set_deployed, name, None)
                self._overview.failures.pop(name, None)
                told["versions"] = ",".join(added)
                await self._take_out(name, added)
                if purge:
                    await asyncio.to_thread(purge_versions, store, versions)
                    self._plane.alias(name, {})

    async def close(self, seconds: float = 0.0) -> None:
        """Wait so long for changes that go on, and then for versions that are leaving."""
        await self.changes.close(seconds)
        if self._leaving:
            await asyncio.wait(set(self._leaving), timeout=1.0)

    # --- steps

    async def _switch(self, store: ModelStore, version: ModelVersion, *, fresh: bool) -> ModelInfo:
        """Serve a version instead of those that serve now."""
        name, former = version.name, self._plane.added(version.name)
        try:
            await self._serve(store, version)
        except PillionError as error:
            await self._failed(store, version, error, discard=fresh)
            raise
        try:
            await asyncio.to_thread(store.set_deployed, name, version.version)
        except PillionError:
            await self._take_out(name, [version.version])
            raise
        self._overview.failures.pop(name, None)
        self._plane.alias(name, await asyncio.to_thread(store.aliases, name))
        if former:
            task = asyncio.get_running_loop().create_task(self._take_out(name, former))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        # The version that leaves is held until its requests have ended: the next deployment removes it.
        await self._prune(store, name)
        return await self._told(version)

    def _serves(self, version: ModelVersion) -> bool:
        """Whether requests for it are answered, or have it loaded."""
        return any(
            status.state is ModelState.READY or status.asleep
            for status in self._plane.statuses()
            if (status.name, status.version) == (version.name, version.version)
        )

    async def _told(self, version: ModelVersion) -> ModelInfo:
        return next(info for info in await self.information([version.name]) if info.version == version.version)

    async def _serve(self, store: ModelStore, version: ModelVersion, *, keep: bool = False) -> None:
        wanted = self._wanted(version)
        hold = await asyncio.to_thread(store.hold, version)
        self._served[version.name, version.version] = (version, hold)
        try:
            await self._plane.add(wanted, lazy=self._settings.lazy and not wanted.is_python, keep=keep)
        except PillionError:
            if not keep:
                self._let_go(version.name, version.version)
            raise

    def _wanted(self, version: ModelVersion) -> DesiredModel:
        """What the plane is told of a version."""
        if version.trained is not None:
            return msgspec.structs.replace(
                self._trainer(version.trained.training),
                name=version.name,
                version=version.version,
                path=str(version.path),
                uri="",
                digest=version.digest,
            )
        return DesiredModel(
            name=version.name,
            version=version.version,
            path=str(version.path),
            format=version.metadata.get("format") or None,
            uri=str(version.metadata.get("storage_uri", "")),
            digest=version.digest,
        )

    async def _failed(self, store: ModelStore, version: ModelVersion, error: PillionError, *, discard: bool) -> None:
        """Keep the reason where people look, and not the files, which nobody can use."""
        self._overview.failures[version.name] = FailedLoad(version.version, str(error), dt.datetime.now(dt.UTC))
        try:
            await asyncio.to_thread(store.set_failure, version.name, version.version, str(error))
            if discard:
                await asyncio.to_thread(store.delete, version.name, version.version)
        except PillionError as second:
            _log.warning("version %s of model %s stays in the store: %s", version.version, version.name, second)

    async def _take_out(self, name: str, versions: Collection[str]) -> None:
        # At once, so that whoever deploys one of them again while its requests end does not take it for served.
        going = [served for version in versions if (served := self._served.pop((name, version), None)) is not None]
        try:
            await self._plane.remove(name, versions)
        finally:
            for _, hold in going:
                hold.close()

    def _let_go(self, name: str, version: str) -> None:
        served = self._served.pop((name, version), None)
        if served is not None:
            served[1].close()

    def _require_ours(self, name: str) -> None:
        check_name(name)
        if self._plane.declares(name):
            raise PillionError(
                ErrorCode.CONFLICT,
                f"model {name!r} is declared where this server was started, and cannot be changed by requests",
                field="model_id",
                remedy="change it there, or take another name",
            )


def _metadata(order: Order) -> dict[str, Any]:
    return dict(order.metadata) | ({} if order.format is None else {"format": order.format})
