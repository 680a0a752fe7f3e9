"""The operator as a process: puts the parts together and keeps them running until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import aiohttp
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from pillion_operator.apply.children import ChildApplier
from pillion_operator.apply.nudge import PodNudger
from pillion_operator.apply.revisions import RevisionKeeper
from pillion_operator.apply.training import JobApplier
from pillion_operator.builders.trained import deploys_to
from pillion_operator.client.errors import ApiError, NotLeaderError
from pillion_operator.client.fence import Fence, LeaseFence, OpenFence
from pillion_operator.client.kubernetes import KubernetesClient
from pillion_operator.client.lease import Election
from pillion_operator.handlers.caches import CRD_WAIT_SECONDS, Caches
from pillion_operator.handlers.routing import batch_keys_for, keys_for, models_for, training_keys_for
from pillion_operator.injector import Injector, sidecar_parts
from pillion_operator.judge.batch import BATCH_STATES
from pillion_operator.judge.training import STATES, state_of
from pillion_operator.kserve import KServeMode
from pillion_operator.metrics import OperatorMetrics
from pillion_operator.observe.activators import ActivatorReader
from pillion_operator.observe.batch_status import BatchStatusReader
from pillion_operator.observe.declared_status import DeclaredStatusReader
from pillion_operator.observe.pod_load import LoadSamples
from pillion_operator.observe.pod_metrics import MetricsReader
from pillion_operator.observe.pod_requests import RequestSamples
from pillion_operator.observe.policies import NamespacePolicies
from pillion_operator.observe.references import ReferenceReader
from pillion_operator.observe.revisions import RevisionReader
from pillion_operator.observe.rights import Rights
from pillion_operator.observe.runtime_status import RuntimeStatusReader
from pillion_operator.observe.store import Store
from pillion_operator.observe.training_pods import TrainingPodReader
from pillion_operator.observe.training_status import TrainingStatusReader
from pillion_operator.observe.variables import VariableNames
from pillion_operator.probes import ProbeServer
from pillion_operator.rbac import used_rules
from pillion_operator.reconcile.batches import BatchParts, BatchReconciler
from pillion_operator.reconcile.models import ModelParts, ModelReconciler
from pillion_operator.reconcile.reconciler import Parts, Reconciler
from pillion_operator.reconcile.rollouts import RolloutParts, Rollouts
from pillion_operator.reconcile.runtimes import RuntimeReporter, apply_builtin_runtimes
from pillion_operator.reconcile.scaling import Scaling
from pillion_operator.reconcile.self_signed import SelfSigned
from pillion_operator.reconcile.stages import Stages
from pillion_operator.reconcile.trainings import TrainingParts, TrainingReconciler
from pillion_operator.reconcile.workers import Workers
from pillion_operator.reconcile.workqueue import Workqueue
from pillion_operator.reconcile.zero import Zero
from pillion_operator.report.events import EventWriter
from pillion_operator.report.status import StatusWriter
from pillion_operator.settings import pod_namespace
from pillion_operator.state.kinds import (
    BATCH_PREDICTION,
    INFERENCE_SERVICE,
    MODEL,
    RUNTIMES,
    TRAINING_JOB,
    Kind,
)
from pillion_operator.state.manifest import Key, Manifest, generation_of, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.client.connection import Connection
    from pillion_operator.rbac import Rule
    from pillion_operator.settings import OperatorSettings

__all__ = ["LOST_LEASE", "Operator"]

_log: Final = logging.getLogger(__name__)

#: Exit code after a lost lease: the process must not go on, and is to be started anew.
LOST_LEASE: Final = 3
_FINISH_SECONDS: Final = 3.0
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
        self._batch_queue: Workqueue[Key] = Workqueue(time.monotonic)
        self._kserve = KServeMode(self._store, settings, self._changed)
        self._fence = LeaseFence()
        self._stop = asyncio.Event()
        self._leading = asyncio.Event()
        self._webhook_unready: Callable[[], str] = str
        self._caches = Caches(connection, self._store, settings, self._metrics, self._changed, self._look_at_services)
        self._rights = Rights(self._used_rules, settings.namespaces, self._look_at_services)

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
            loads = MetricsReader(pods, LoadSamples)
            self._scaling = Scaling(client, self._store, loads, time.monotonic, self._queue.add)
            own_namespace = pod_namespace() or namespace
            activators = ActivatorReader(client, pods, own_namespace, settings.activator_service)
            self._zero = Zero(client, self._store, loads, activators, time.monotonic, self._queue.add)
            declared = DeclaredStatusReader(pods, time.monotonic)
            reconciler = Reconciler(self._parts(client, pods, declared))
            self._workers = Workers(self._queue, reconciler.reconcile, self._metrics.reconciled, settings.workers)
            runtimes = RuntimeReporter(self._store, StatusWriter(client, self._status_written), time.time)
            self._runtime_workers = Workers(self._runtime_queue, runtimes.reconcile, _uncounted, 1, "serving runtime")
            models = ModelReconciler(
                ModelParts(
                    self._store,
                    self._policies,
                    declared,
                    StatusWriter(client, self._status_written),
                    EventWriter(client, settings.identity, time.monotonic),
                    time.time,
                )
            )
            self._model_workers = Workers(self._model_queue, models.reconcile, _uncounted, _MODEL_WORKERS, "Model")
            trainings = TrainingReconciler(self._training_parts(client, pods))
            self._training_workers = Workers(
                self._training_queue, trainings.reconcile, _uncounted, settings.workers, "TrainingJob"
            )
            batches = BatchReconciler(self._batch_parts(client, pods))
            self._batch_workers = Workers(
                self._batch_queue, batches.reconcile, _uncounted, settings.workers, "BatchPrediction"
            )
            self._metrics.gauges(
                leader=self._leading.is_set,
                depth=lambda: len(self._queue),
                oldest=lambda: self._queue.oldest_wait if self._leading.is_set() else 0.0,
                services=lambda: self._store.count(INFERENCE_SERVICE),
                trainings={state: partial(self._trainings_in, state) for state in STATES},
                batches={state: partial(self._batches_in, state) for state in BATCH_STATES},
            )
            if not settings.sidecar_injector:
                return await self._run_until_stopped(client, election, None)
            parts = sidecar_parts(settings, client, self._store, self._policies, self._metrics.admitted)
            async with Injector(settings, namespace, parts) as injector:
                code = await self._run_until_stopped(client, election, injector)
                if code == 0:
                    await injector.linger()
                return code

    def _trainings_in(self, state: str) -> int:
        return sum(state_of(training) == state for training in self._store.all(TRAINING_JOB))

    def _batches_in(self, state: str) -> int:
        return sum(state_of(batch) == state for batch in self._store.all(BATCH_PREDICTION))

    def _parts(self, client: KubernetesClient, pods: aiohttp.ClientSession, declared: DeclaredStatusReader) -> Parts:
        store = self._store
        return Parts(
            store=store,
            references=ReferenceReader(client, time.monotonic),
            policies=self._policies,
            runtimes=RuntimeStatusReader(pods),
            declared=declared,
            applier=ChildApplier(client, store.record),
            nudger=PodNudger(client, store.record),
            rollouts=Rollouts(
                RolloutParts(
                    RevisionReader(client),
                    RevisionKeeper(client, store.record, store.forget),
                    RuntimeStatusReader(pods),
                    Stages(MetricsReader(pods, RequestSamples), time.monotonic),
                    VariableNames(client, time.monotonic),
                )
            ),
            scaling=self._scaling,
            zero=self._zero,
            self_signed=SelfSigned(
                client,
                self._settings.self_signed_times,
                self._settings.cluster_domain,
                enabled=self._settings.self_signed,
                clock=time.monotonic,
            ),
            status=StatusWriter(client, self._status_written),
            events=EventWriter(client, self._settings.identity, time.monotonic),
            settings=self._settings.render,
            wall_clock=time.time,
            cluster_runtimes=not self._settings.namespaces,
            optional_kinds=lambda: self._caches.optional,
            kinds_away=lambda: self._caches.away,
            lacks=self._rights.lacks,
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
            clock=time.monotonic,
            on_end=self._metrics.training_ended,
        )

    def _batch_parts(self, client: KubernetesClient, pods: aiohttp.ClientSession) -> BatchParts:
        return BatchParts(
            store=self._store,
            references=ReferenceReader(client, time.monotonic),
            policies=self._policies,
            reports=BatchStatusReader(pods),
            pods=TrainingPodReader(client),
            applier=JobApplier(client, self._store.record),
            status=StatusWriter(client, self._status_written),
            events=EventWriter(client, self._settings.identity, time.monotonic),
            settings=self._settings.render,
            wall_clock=time.time,
            clock=time.monotonic,
        )

    async def _run_until_stopped(self, client: KubernetesClient, election: Election, injector: Injector | None) -> int:
        tasks = {
            asyncio.create_task(self._caches.run(client, self._policies), name="caches"),
            asyncio.create_task(self._rights.run(client, self._leading, self._settings.resync_seconds), name="rights"),
            asyncio.create_task(self._lead(client, election), name="leader"),
            asyncio.create_task(self._workers.run(self._leading), name="workers"),
            asyncio.create_task(self._scaling.run(self._leading), name="scaling"),
            asyncio.create_task(self._zero.run(self._leading), name="zero"),
            asyncio.create_task(self._runtime_workers.run(self._leading), name="runtime workers"),
            asyncio.create_task(self._model_workers.run(self._leading), name="model workers"),
            asyncio.create_task(self._training_workers.run(self._leading), name="training workers"),
            asyncio.create_task(self._batch_workers.run(self._leading), name="batch workers"),
            asyncio.create_task(self._kserve.run(client, self._leading), name="KServe workers"),
        }
        if injector is not None:
            self._webhook_unready = injector.unready
            webhook = injector.run(client, self._caches.synced, self._leading.is_set)
            tasks.add(asyncio.create_task(webhook, name="webhook"))
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
        await self._caches.stop()
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
                await self._batch_queue.idle()

    async def _lead(self, client: KubernetesClient, election: Election) -> None:
        """Once elected and synced: apply the built-in runtimes, look at every object, let the workers begin."""
        await self._caches.synced.wait()
        await election.leading.wait()
        if self._settings.builtin_runtimes and not self._settings.namespaces:
            await self._apply_builtin(client)
        self._look_at_services()
        queues = {
            **dict.fromkeys(RUNTIMES, self._runtime_queue),
            MODEL: self._model_queue,
            TRAINING_JOB: self._training_queue,
            BATCH_PREDICTION: self._batch_queue,
        }
        for kind, queue in queues.items():
            for key in self._store.keys(kind):
                queue.add(key)
        self._kserve.look_at_all()
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
                await asyncio.sleep(CRD_WAIT_SECONDS)
            except NotLeaderError:
                return
            else:
                return

    def _changed(self, kind: Kind, manifest: Manifest) -> None:
        for key in keys_for(kind, manifest, self._store):
            self._queue.add(key)
        for key in training_keys_for(kind, manifest, self._store):
            self._training_queue.add(key)
        for key in batch_keys_for(kind, manifest, self._store):
            self._batch_queue.add(key)
        if kind in RUNTIMES:
            self._runtime_queue.add(key_of(manifest))
        for key in models_for(kind, manifest, self._store):
            self._model_queue.add(key)
        self._kserve.look_at(kind, manifest)

    def _status_written(self, kind: Kind, manifest: Manifest) -> None:
        """Record a status of ours, and look at what depends on it: the watch does not tell of it as news any more."""
        before = self._store.get(kind, key_of(manifest))
        if before is None:
            return  # It has gone while it was written, or its namespace is not looked after any more.
        taken = self._store.record(kind, manifest)
        if taken and generation_of(before) != generation_of(manifest):
            # Somebody changed the spec meanwhile, and what was written brought it along.
            self._changed(kind, manifest)
            self._changed(kind, before)
        elif kind == INFERENCE_SERVICE:
            for key in training_keys_for(kind, manifest, self._store):
                self._training_queue.add(key)
            for key in models_for(kind, manifest, self._store):
                self._model_queue.add(key)
            self._kserve.look_at(kind, manifest)
        elif kind == TRAINING_JOB and deploys_to(manifest) is not None:
            self._changed(kind, manifest)

    def _used_rules(self) -> tuple[Rule, ...]:
        return used_rules(self._caches.optional, cluster=not self._settings.namespaces)

    def _look_at_services(self) -> None:
        for key in self._store.keys(INFERENCE_SERVICE):
            self._queue.add(key)

    def _policy_changed(self, namespace: str) -> None:
        _log.info("the policies of namespace %s changed", namespace)
        for key in self._store.keys(INFERENCE_SERVICE):
            if key.namespace == namespace:
                self._queue.add(key)

    def _sick(self) -> str:
        """Say what is wrong with this process that a restart would mend; nothing where it is well."""
        sick = self._caches.sick()
        if sick:
            return sick
        queues = (self._queue, self._training_queue, self._batch_queue)
        waited = max(queue.oldest_wait for queue in queues)
        if self._leading.is_set() and waited > _STUCK_SECONDS:
            return f"a key has waited {waited:.0f} s for a worker"
        return ""

    def _unready(self) -> str:
        """Say why this replica could not take over; nothing where it could."""
        return self._caches.unready() or self._sick() or self._webhook_unready()
