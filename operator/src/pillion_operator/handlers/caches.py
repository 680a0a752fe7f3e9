"""The caches of one replica: filled at its start, kept by watches, and corrected by periodic lists; leader or not."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import aiohttp

from pillion.resources.base import API_VERSION
from pillion_operator.builders.claims import claims_of
from pillion_operator.client.errors import ApiError
from pillion_operator.handlers.resync import Resync
from pillion_operator.handlers.routing import is_news
from pillion_operator.handlers.scope import NamespaceScope
from pillion_operator.handlers.watch import LISTED, Watcher
from pillion_operator.state.kinds import (
    BATCH_PREDICTION,
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    KSERVE_INFERENCE_SERVICE,
    LABELLED,
    MODEL,
    NAMESPACE,
    OPTIONAL,
    SERVING_RUNTIME,
    TRAINING_JOB,
    Kind,
)
from pillion_operator.state.manifest import Manifest, key_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pillion_operator.client.connection import Connection
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.metrics import OperatorMetrics
    from pillion_operator.observe.policies import NamespacePolicies
    from pillion_operator.observe.store import Store
    from pillion_operator.settings import OperatorSettings

__all__ = ["CRD_WAIT_SECONDS", "Caches"]

_log: Final = logging.getLogger(__name__)

CRD_WAIT_SECONDS: Final = 2.0
_SETTLE_SECONDS: Final = 1.0
#: Rounds of the periodic list in a row that found missed changes, after which the watches are started anew,
#: and after which the process counts as sick.
_RESTART_AFTER, _SICK_AFTER = 1, 4
_DOWN_SECONDS: Final = 90.0


class Caches:
    """Keeps the store as the cluster is."""

    def __init__(
        self,
        connection: Connection,
        store: Store,
        settings: OperatorSettings,
        metrics: OperatorMetrics,
        changed: Callable[[Kind, Manifest], None],
        kinds_changed: Callable[[], None],
    ) -> None:
        """Prepare; `changed` is told of every object that is new, changed or gone.

        `kinds_changed` is told when the cluster has got or lost one of the optional kinds.
        """
        self._store = store
        self._namespaces = settings.namespaces
        self._resync_seconds = settings.resync_seconds
        self._wanted = settings.optional_kinds
        self._metrics = metrics
        self._changed = changed
        self._kinds_changed = kinds_changed
        self._scope = NamespaceScope(settings.namespace_selector, self._leave)
        selector = settings.namespace_selector
        self._watcher = Watcher(connection, self._watched, settings.namespaces, self._deliver, selector)
        self._listed = asyncio.Event()
        self._bad_rounds = 0
        self._resync: Resync | None = None
        self._told = ""
        #: Kinds that are not watched since they do not answer: those that were known before, those that never were,
        #: those of which it is not even known whether the cluster has them, and all that was told of.
        self._aside: frozenset[Kind] = frozenset()
        self._awaited: frozenset[Kind] = frozenset()
        self._unasked: frozenset[Kind] = frozenset()
        self._silent: frozenset[Kind] = frozenset()
        self.synced = asyncio.Event()
        self.optional: frozenset[Kind] = frozenset()

    async def run(self, client: KubernetesClient, policies: NamespacePolicies) -> None:
        """Fill the caches, watch, and correct the caches from time to time, until cancelled."""
        await self._wait_for_crds(client)
        self.optional = await self._discovered(client)
        self._resync = resync = Resync(
            client, self._store, self._kinds, self._namespaces, self._changed, self._scope.includes
        )
        self._watcher.start()
        self._listed.set()
        while not self.synced.is_set():
            try:
                await self._scope.refresh(client)
                self._scope.read_all()
                await resync.fill()
            except ApiError as error:
                _log.warning("the first lists failed: %s; trying again", error)
                await asyncio.sleep(CRD_WAIT_SECONDS)
                continue
            self._await(frozenset(resync.unanswered))
            if self._tell_refusals():
                await asyncio.sleep(CRD_WAIT_SECONDS)
            else:
                self.synced.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._correct(client, resync, policies))
            group.create_task(self._follow_namespaces(resync))

    async def _correct(self, client: KubernetesClient, resync: Resync, policies: NamespacePolicies) -> None:
        while True:
            listed = await self._next_round()
            await self._follow_optional_kinds(client, resync)
            try:
                await self._scope.refresh(client)
                missed = await resync.correct()
                self._set_aside(frozenset(resync.unanswered))
                await policies.refresh(key.namespace for key in self._store.keys(INFERENCE_SERVICE))
            except ApiError as error:
                _log.warning("the periodic list failed: %s", error)
                continue
            finally:
                self._tell_refusals()
            # What happened between two lists at the start of a watch is nobody's fault.
            if not listed:
                self._judge_watches(missed)

    async def _follow_namespaces(self, resync: Resync) -> None:
        """List each namespace that has come to be looked after."""
        while True:
            for namespace in await self._scope.joined():
                try:
                    await resync.fill(namespace)
                except ApiError as error:
                    _log.warning("namespace %s could not be listed: %s; trying again", namespace, error)
                    self._scope.again(namespace)
                    await asyncio.sleep(CRD_WAIT_SECONDS)

    @property
    def away(self) -> frozenset[Kind]:
        """The optional kinds that nothing is planned of as they do not answer: the cluster may well have them."""
        return (self._awaited | self._unasked) - self.optional

    def sick(self) -> str:
        """Say what is wrong with the watches; nothing where they are well."""
        if self.synced.is_set() and self._watcher.down_seconds > _DOWN_SECONDS:
            return f"no watch has been running for {self._watcher.down_seconds:.0f} s"
        if self._bad_rounds >= _SICK_AFTER:
            return f"the watches missed changes in {self._bad_rounds} rounds in a row"
        return ""

    def unready(self) -> str:
        """Say why the store is not as the cluster is; nothing where it is."""
        if self._told:
            return f"the operator lacks rights: {self._told}; bind it to the roles of its release"
        return "" if self.synced.is_set() else "the caches are not filled yet"

    def _tell_refusals(self) -> str:
        """Return what may not be listed, and say it where that has changed."""
        refused = {} if self._resync is None else self._resync.refused
        self._metrics.refused(kind.plural for kind, _ in refused)
        told = "; ".join(sorted({error.message for error in refused.values()}))
        if told and told != self._told:
            _log.error("the operator lacks rights: %s", told)
        self._told = told
        return told

    async def stop(self) -> None:
        """End the watches."""
        await self._watcher.stop()

    def _kinds(self) -> tuple[Kind, ...]:
        """Return what is watched and listed now."""
        labelled = (kind for kind in LABELLED if kind not in OPTIONAL or kind in self.optional)
        cluster = () if self._namespaces else (CLUSTER_SERVING_RUNTIME,)
        theirs = (KSERVE_INFERENCE_SERVICE,) if KSERVE_INFERENCE_SERVICE in self.optional else ()
        ours = (INFERENCE_SERVICE, SERVING_RUNTIME, MODEL, TRAINING_JOB, BATCH_PREDICTION)
        return (*ours, *theirs, *labelled, *cluster)

    def _watched(self) -> tuple[Kind, ...]:
        """Return what is watched: a kind that does not answer would end the watches of all others."""
        return tuple(kind for kind in self._kinds() if kind not in self._aside)

    def _await(self, silent: frozenset[Kind]) -> None:
        """Begin without the optional kinds that do not answer, as if the cluster lacked them."""
        if silent:
            self.optional -= silent
            self._watcher.restart()
            self._forget(silent)
        self._awaited = silent
        self._tell_silence()

    def _forget(self, kinds: Iterable[Kind]) -> None:
        """Drop what is known of kinds that nothing is planned of: what is known and not planned is deleted."""
        for kind in kinds:
            self._store.drop(kind)

    def _set_aside(self, silent: frozenset[Kind]) -> None:
        """Go on without watching what does not answer, and watch again what does; the caches keep what they have."""
        if silent == self._aside:
            return
        self._aside = silent
        self._watcher.restart()
        self._tell_silence()

    def _tell_silence(self) -> None:
        """Say which optional kinds there are that cannot be listed, where that has changed."""
        silent = self._aside | self._awaited
        if silent == self._silent:
            return
        for kind in silent - self._silent:
            _log.warning("%s of %s cannot be listed: going on without them", kind.plural, kind.api_version)
        for kind in self._silent - silent:
            _log.info("%s of %s can be listed again", kind.plural, kind.api_version)
        self._silent = silent
        self._metrics.unanswered(kind.plural for kind in silent)

    async def _discovered(self, client: KubernetesClient) -> frozenset[Kind]:
        """Return the optional kinds that the cluster has, those known so far where it cannot be asked."""
        found, unasked = set[Kind](), set[Kind]()
        for api_version in sorted({kind.api_version for kind in self._wanted}):
            kinds = {kind for kind in self._wanted if kind.api_version == api_version}
            try:
                plurals = await client.discover(api_version)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _log.warning("the API server cannot be asked for %s: %s", api_version, error)
                found |= kinds & self.optional
                unasked |= kinds
            else:
                found |= {kind for kind in kinds if kind.plural in plurals}
        self._unasked = frozenset(unasked)
        return frozenset(found)

    async def _follow_optional_kinds(self, client: KubernetesClient, resync: Resync) -> None:
        """Take up a kind whose definition has come, once it is listed, and let go of one whose definition has gone."""
        before = self.away
        found = await self._discovered(client)
        come, gone, silent = set[Kind](), self.optional - found, set[Kind]()
        for kind in found - self.optional:
            try:
                # What is there already must be known before anybody plans with it.
                await resync.fill(kinds=(kind,))
            except ApiError as error:
                _log.warning("%s, which are new, could not be listed: %s; trying again", kind.plural, error)
                silent.add(kind)
                self._forget((kind,))
                # Right after its definition has come a kind may not be served yet; anything else may take long to pass.
                if error.not_found:
                    self._listed.set()
            else:
                come.add(kind)
        self._awaited = frozenset(silent)
        self._tell_silence()
        if not come and not gone:
            if self.away != before:
                self._kinds_changed()
            return
        self._forget(gone)
        for kind in come | gone:
            _log.info("the cluster %s %s now", "has" if kind in come else "has no", kind.plural)
        self.optional = (self.optional | come) - gone
        self._watcher.restart()
        self._kinds_changed()

    async def _next_round(self) -> bool:
        """Wait until the caches are to be corrected; return whether that is because a watch listed anew.

        Between what was known and what a watch lists lies a gap whose deletions it never tells of.
        """
        try:
            async with asyncio.timeout(self._resync_seconds):
                await self._listed.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(_SETTLE_SECONDS)
        self._listed.clear()
        return True

    def _judge_watches(self, missed: dict[Kind, int]) -> None:
        for kind, number in missed.items():
            self._metrics.missed(kind.plural, number)
        self._bad_rounds = self._bad_rounds + 1 if missed else 0
        if self._bad_rounds >= _RESTART_AFTER:
            self._metrics.watch_restarted()
            self._watcher.restart()

    async def _wait_for_crds(self, client: KubernetesClient) -> None:
        """kopf looks for its kinds once, at its start, so they must be there by then."""
        wanted = {kind.plural for kind in self._kinds() if kind.api_version == API_VERSION}
        told = False
        while True:
            try:
                missing = wanted - await client.discover(API_VERSION)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _log.warning("the API server cannot be asked for its kinds: %s", error)
                missing = wanted
            if not missing:
                return
            if not told:
                _log.warning("waiting for the CustomResourceDefinitions of %s", ", ".join(sorted(missing)))
                told = True
            await asyncio.sleep(CRD_WAIT_SECONDS)

    def _leave(self, namespace: str) -> None:
        """Drop what lies in a namespace that is not looked after any more, and tell of what was followed there."""
        gone = [
            (kind, manifest)
            for kind in (INFERENCE_SERVICE, TRAINING_JOB, BATCH_PREDICTION)
            for manifest in self._store.all(kind, namespace)
        ]
        self._store.leave(namespace)
        for kind, manifest in gone:
            self._changed(kind, manifest)

    def _deliver(self, kind: Kind, event: str, manifest: Manifest) -> None:
        """Take one event of a watch: record the object, enqueue the keys it bears on."""
        self._metrics.event(kind.plural)
        if event == LISTED:
            self._listed.set()
        if kind == NAMESPACE:
            self._scope.take(manifest, gone=event == "DELETED")
            return
        if kind in OPTIONAL and kind not in self.optional:
            return  # Of a watch that has not ended yet.
        if not self._scope.includes(key_of(manifest).namespace):
            return
        if event == "DELETED":
            known = self._store.forget(kind, key_of(manifest), uid_of(manifest))
            self._changed(kind, known or manifest)
            return
        before = self._store.get(kind, key_of(manifest))
        if self._store.record(kind, manifest) and is_news(kind, before, manifest):
            self._changed(kind, manifest)
            if before is not None and _may_let_go(kind, before, manifest):
                self._changed(kind, before)


def _may_let_go(kind: Kind, before: Manifest, after: Manifest) -> bool:
    """Whether an object may have let go of what others ask for: a training of a service, a service of a host."""
    return kind == TRAINING_JOB or (kind == INFERENCE_SERVICE and claims_of(before) != claims_of(after))
