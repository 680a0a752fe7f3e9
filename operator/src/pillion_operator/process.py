"""The operator as a process: puts the parts together and keeps them running until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

import aiohttp
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from pillion.resources.base import API_VERSION
from pillion_operator.apply.children import ChildApplier
from pillion_operator.apply.nudge import PodNudger
from pillion_operator.apply.training import JobApplier
from pillion_operator.builders.trained import deploys_to
from pillion_operator.client.errors import ApiError, NotLeaderError
from pillion_operator.client.fence import Fence, LeaseFence, OpenFence
from pillion_operator.client.kubernetes import KubernetesClient
from pillion_operator.client.lease import Election
from pillion_operator.handlers.resync import Resync
from pillion_operator.handlers.routing import is_news, keys_for, models_for, training_keys_for
from pillion_operator.handlers.watch import LISTED, Watcher
from pillion_operator.metrics import OperatorMetrics
from pillion_operator.observe.declared_status import DeclaredStatusReader
from pillion_operator.observe.policies import NamespacePolicies
from pillion_operator.observe.references import ReferenceReader
from pillion_operator.observe.runtime_status import RuntimeStatusReader
from pillion_operator.observe.store import Store
from pillion_operator.observe.training_pods import TrainingPodReader
from pillion_operator.observe.training_status import TrainingStatusReader
from pillion_operator.probes import ProbeServer
from pillion_operator.reconcile.models import ModelParts, ModelReconciler
from pillion_operator.reconcile.reconciler import Parts, Reconciler
from pillion_operator.reconcile.runtimes import RuntimeReporter, apply_builtin_runtimes
from pillion_operator.reconcile.trainings import TrainingParts, TrainingReconciler
from pillion_operator.reconcile.workers import Workers
from pillion_operator.reconcile.workqueue import Workqueue
from pillion_operator.report.events import EventWriter
from pillion_operator.report.status import StatusWriter
from pillion_operator.settings import pod_namespace
from pillion_operator.state.kinds import (
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    LABELLED,
    MODEL,
    OPTIONAL,
    RUNTIMES,
    SERVING_RUNTIME,
    TRAINING_JOB,
    Kind,
)
from pillion_operator.state.manifest import Key, Manifest, generation_of, key_of, uid_of

if TYPE_CHECKING:
    from pillion_operator.client.connection import Connection
    from pillion_operator.settings import OperatorSettings

__all__ = ["LOST_LEASE", "Operator"]

_log: Final = logging.getLogger(__name__)

#: Exit code after a lost lease: the process must not go on, and is to be started anew.
LOST_LEASE: Final = 3
_CRD_WAIT_SECONDS: Final = 2.0
_FINISH_SECONDS: Final = 3.0
_SETTLE_SECONDS: Final = 1.0
#: Rounds of the periodic list in a row that found missed changes, after which the watches are started anew,
#: and after which the process counts as sick.
_RESTART_AFTER, _SICK_AFTER = 1, 4
_DOWN_SECONDS: Final = 90.0
_STUCK_SECONDS: Final = 300.0
#: Each asks pods most of its time.
_MODEL_WORKERS: Final = 4


def _uncounted(outcome: str, seconds: float) -> None:
    """Take no measure: the metrics of reconciles are about services."""
    del outcome, seconds


class Operator:
    """One replica."""

    def __init__(self, settings: OperatorSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._metrics = OperatorMetrics(self._registry)
        self._store = Store()
        self._queue: Workqueue[Key] = Workqueue(time.monotonic)
        self._runtime_queue: Workqueue[Key] = Workqueue(time.monotonic)
        self._model_queue: Workqueue[Key] = Workqueue(time.monotonic)
        self._training_queue: Workqueue[Key] = Workqueue(time.monotonic)
        self._fence = LeaseFence()
        self._stop = asyncio.Event()
        self._synced = asyncio.Event()
        self._leading = asyncio.Event()
        self._listed = asyncio.Event()
        self._bad_rounds = 0
        self._optional: frozenset[Kind] = frozenset()

    def _kinds(self) -> tuple[Kind, ...]:
        """Return what is watched and listed now."""
        labelled = (kind for kind in LABELLED if kind not in OPTIONAL or kind in self._optional)
        cluster = () if self._settings.namespaces else (CLUSTER_SERVING_RUNTIME,)
        return (INFERENCE_SERVICE, SERVING_RUNTIME, MODEL, TRAINING_JOB, *labelled, *cluster)

    def stop(self) -> None:
        """End in an orderly way: finish what is being written, give the lease up."""
        self._stop.set()

    async def run(self) -> int:
        """Run until stopped or until the lease is lost; return the exit code."""
        settings = self._settings
        fence: Fence = self._fence if settings.leader_election else OpenFence()
        async with (
            KubernetesClient(self._connection, fence, self._metrics.request) as client,
            KubernetesClient(self._connection, OpenFence(), self._metrics.request) as lease_client,
            aiohttp.ClientSession() as pods,
            ProbeServer(
                settings.http_host, settings.http_port, self._registry, live=self._sick, ready=self._unready
            ) as probes,
        ):
            _log.info("metrics and probes answer on port %d", probes.port)
            namespace = settings.lease_namespace or pod_namespace() or self._connection.namespace
            election = Election(
                lease_client,
                self._fence,
                Key(namespace, settings.lease_name),
                settings.identity,
                settings.lease_times,
                deployment=settings.deployment_name,
            )
            render = settings.render
            self._policies = NamespacePolicies(client, render, time.monotonic, self._policy_changed)
            self._watcher = Watcher(self._connection, self._kinds, settings.namespaces, self._deliver)
            reconciler = Reconciler(self._parts(client, pods))
            self._workers = Workers(self._queue, reconciler.reconcile, self._metrics.reconciled, settings.workers)
            runtimes = RuntimeReporter(self._store, StatusWriter(client, self._status_written), time.time)
            self._runtime_workers = Workers(self._runtime_queue, runtimes.reconcile, _uncounted, 1, "serving runtime")
            models = ModelReconciler(
                ModelParts(
                    self._store,
                    self._policies,
                    DeclaredStatusReader(pods, time.monotonic),
                    StatusWriter(client, self._status_written),
                    time.time,
                )
            )
            self._model_workers = Workers(self._model_queue, models.reconcile, _uncounted, _MODEL_WORKERS, "Model")
            trainings = TrainingReconciler(self._training_parts(client, pods))
            self._training_workers = Workers(
                self._training_queue, trainings.reconcile, _uncounted, settings.workers, "TrainingJob"
            )
            self._metrics.gauges(
                leader=self._leading.is_set,
                depth=lambda: len(self._queue),
                oldest=lambda: self._queue.oldest_wait if self._leading.is_set() else 0.0,
                services=lambda: self._store.count(INFERENCE_SERVICE),
            )
            return await self._run_until_stopped(client, election)

    def _parts(self, client: KubernetesClient, pods: aiohttp.ClientSession) -> Parts:
        store = self._store
        return Parts(
            store=store,
            references=ReferenceReader(client, time.monotonic),
            policies=self._policies,
            runtimes=RuntimeStatusReader(pods),
            applier=ChildApplier(client, store.record),
            nudger=PodNudger(client, store.record),
            status=StatusWriter(client, self._status_written),
            events=EventWriter(client, self._settings.identity, time.monotonic),
            settings=self._settings.render,
            wall_clock=time.time,
            cluster_runtimes=not self._settings.namespaces,
            optional_kinds=lambda: self._optional,
            on_repair=self._metrics.repaired,
        )

    def _training_parts(self, client: KubernetesClient, pods: aiohttp.ClientSession) -> TrainingParts:
        store = self._store
        return TrainingParts(
            store=store,
            references=ReferenceReader(client, time.monotonic),
            reports=TrainingStatusReader(pods),
            pods=TrainingPodReader(client),
            applier=JobApplier(client, store.record),
            status=StatusWriter(client, self._status_written),
            events=EventWriter(client, self._settings.identity, time.monotonic),
            settings=self._settings.render,
            wall_clock=time.time,
        )

    async def _run_until_stopped(self, client: KubernetesClient, election: Election) -> int:
        tasks = {
            asyncio.create_task(self._keep_caches(client), name="caches"),
            asyncio.create_task(self._lead(client, election), name="leader"),
            asyncio.create_task(self._workers.run(self._leading), name="workers"),
            asyncio.create_task(self._runtime_workers.run(self._leading), name="runtime workers"),
            asyncio.create_task(self._model_workers.run(self._leading), name="model workers"),
            asyncio.create_task(self._training_workers.run(self._leading), name="training workers"),
        }
        elected = asyncio.create_task(self._elect(election), name="election")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        done, _ = await asyncio.wait({*tasks, elected, stopped}, return_when=asyncio.FIRST_COMPLETED)
        code = 0 if stopped in done else LOST_LEASE
        self._leading.clear()
        if stopped in done:
            _log.info("stopping")
            await self._finish_work()
        for task in (*tasks, elected, stopped):
            task.cancel()
        for result in await asyncio.gather(*tasks, elected, stopped, return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("a part of the operator failed", exc_info=result)
                code = code or 1
        if self._settings.leader_election and code != LOST_LEASE:
            await election.release()
        await self._watcher.stop()
        return code

    async def _elect(self, election: Election) -> None:
        if not self._settings.leader_election:
            election.leading.set()
            await asyncio.Event().wait()
        await election.run()

    async def _finish_work(self) -> None:
        """Let the workers finish what they hold: each is at most a few requests from its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._queue.idle()
                await self._training_queue.idle()

    async def _keep_caches(self, client: KubernetesClient) -> None:
        """Fill the caches, watch, and correct the caches from time to time; leader or not."""
        await self._wait_for_crds(client)
        self._optional = await self._discovered(client)
        resync = Resync(client, self._store, self._kinds, self._settings.namespaces, self._changed)
        self._watcher.start()
        self._listed.set()
        while not self._synced.is_set():
            try:
                await resync.fill()
            except ApiError as error:
                _log.warning("the first lists failed: %s; trying again", error)
                await asyncio.sleep(_CRD_WAIT_SECONDS)
            else:
                self._synced.set()
        while True:
            listed = await self._next_round()
            await self._follow_optional_kinds(client)
            try:
                missed = await resync.correct()
                await self._policies.refresh(key.namespace for key in self._store.keys(INFERENCE_SERVICE))
            except ApiError as error:
                _log.warning("the periodic list failed: %s", error)
                continue
            # What happened between two lists at the start of a watch is nobody's fault.
            if not listed:
                self._judge_watches(missed)

    async def _discovered(self, client: KubernetesClient) -> frozenset[Kind]:
        """Return the optional kinds that the cluster has, those known so far where it cannot be asked."""
        found: set[Kind] = set()
        try:
            for api_version in sorted({kind.api_version for kind in OPTIONAL}):
                plurals = await client.discover(api_version)
                found |= {kind for kind in OPTIONAL if kind.api_version == api_version and kind.plural in plurals}
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("the API server cannot be asked for optional kinds: %s", error)
            return self._optional
        return frozenset(found)

    async def _follow_optional_kinds(self, client: KubernetesClient) -> None:
        """Take up a kind whose definition has come, and let go of one whose definition has gone."""
        found = await self._discovered(client)
        if found == self._optional:
            return
        for kind in found ^ self._optional:
            _log.info("the cluster %s %s now", "has" if kind in found else "has no", kind.plural)
            self._store.drop(kind)
        self._optional = found
        self._watcher.restart()
        for key in self._store.keys(INFERENCE_SERVICE):
            self._queue.add(key)

    async def _next_round(self) -> bool:
        """Wait until the caches are to be corrected; return whether that is because a watch listed anew.

        Between what was known and what a watch lists lies a gap whose deletions it never tells of.
        """
        try:
            async with asyncio.timeout(self._settings.resync_seconds):
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
            await asyncio.sleep(_CRD_WAIT_SECONDS)

    async def _lead(self, client: KubernetesClient, election: Election) -> None:
        """Once elected and synced: apply the built-in runtimes, look at every object, let the workers begin."""
        await self._synced.wait()
        await election.leading.wait()
        if self._settings.builtin_runtimes and not self._settings.namespaces:
            await self._apply_builtin(client)
        for key in self._store.keys(INFERENCE_SERVICE):
            self._queue.add(key)
        for kind in RUNTIMES:
            for key in self._store.keys(kind):
                self._runtime_queue.add(key)
        for key in self._store.keys(MODEL):
            self._model_queue.add(key)
        for key in self._store.keys(TRAINING_JOB):
            self._training_queue.add(key)
        self._leading.set()
        await asyncio.Event().wait()

    async def _apply_builtin(self, client: KubernetesClient) -> None:
        while True:
            try:
                await apply_builtin_runtimes(client, self._store, self._settings.render)
            except ApiError as error:
                _log.warning("the built-in serving runtimes could not be applied: %s", error)
                if error.refused:
                    return
                await asyncio.sleep(_CRD_WAIT_SECONDS)
            except NotLeaderError:
                return
            else:
                return

    def _deliver(self, kind: Kind, event: str, manifest: Manifest) -> None:
        """Take one event of a watch: record the object, enqueue the keys it bears on."""
        self._metrics.event(kind.plural)
        if event == LISTED:
            self._listed.set()
        if event == "DELETED":
            known = self._store.forget(kind, key_of(manifest), uid_of(manifest))
            self._changed(kind, known or manifest)
            return
        before = self._store.get(kind, key_of(manifest))
        if self._store.record(kind, manifest) and is_news(kind, before, manifest):
            self._changed(kind, manifest)
            if kind == TRAINING_JOB and before is not None:
                self._changed(kind, before)  # It may have let go of a service.

    def _changed(self, kind: Kind, manifest: Manifest) -> None:
        for key in keys_for(kind, manifest, self._store):
            self._queue.add(key)
        for key in training_keys_for(kind, manifest, self._store):
            self._training_queue.add(key)
        if kind in RUNTIMES:
            self._runtime_queue.add(key_of(manifest))
        for key in models_for(kind, manifest, self._store):
            self._model_queue.add(key)

    def _status_written(self, kind: Kind, manifest: Manifest) -> None:
        """Record a status of ours, and look at what depends on it: the watch does not tell of it as news any more."""
        before = self._store.get(kind, key_of(manifest))
        taken = self._store.record(kind, manifest)
        if taken and before is not None and generation_of(before) != generation_of(manifest):
            # Somebody changed the spec meanwhile, and what was written brought it along.
            self._changed(kind, manifest)
            self._changed(kind, before)
        elif kind == INFERENCE_SERVICE:
            for key in training_keys_for(kind, manifest, self._store):
                self._training_queue.add(key)
            for key in models_for(kind, manifest, self._store):
                self._model_queue.add(key)
        elif kind == TRAINING_JOB and deploys_to(manifest) is not None:
            self._changed(kind, manifest)

    def _policy_changed(self, namespace: str) -> None:
        _log.info("the policies of namespace %s changed", namespace)
        for key in self._store.keys(INFERENCE_SERVICE):
            if key.namespace == namespace:
                self._queue.add(key)

    def _sick(self) -> str:
        """Say what is wrong with this process that a restart would mend; nothing where it is well."""
        if self._synced.is_set() and self._watcher.down_seconds > _DOWN_SECONDS:
            return f"no watch has been running for {self._watcher.down_seconds:.0f} s"
        if self._bad_rounds >= _SICK_AFTER:
            return f"the watches missed changes in {self._bad_rounds} rounds in a row"
        waited = max(self._queue.oldest_wait, self._training_queue.oldest_wait)
        if self._leading.is_set() and waited > _STUCK_SECONDS:
            return f"a key has waited {waited:.0f} s for a worker"
        return ""

    def _unready(self) -> str:
        """Say why this replica could not take over; nothing where it could."""
        if not self._synced.is_set():
            return "the caches are not filled yet"
        return self._sick()
