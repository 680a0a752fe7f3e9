"""`reconcile(key)` of a BatchPrediction: observe, plan, apply, judge, report, as for services."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.resources import BatchPrediction
from pillion_operator.builders.batch import batch_hash, batch_job
from pillion_operator.builders.job import job_changes, lifetime_change
from pillion_operator.judge.batch import batch_status
from pillion_operator.judge.batch_pods import is_predicting
from pillion_operator.judge.invalid import invalid_status
from pillion_operator.judge.job import has_ended, is_over
from pillion_operator.reconcile.patience import Patience
from pillion_operator.report.events import batch_happenings
from pillion_operator.state.kinds import BATCH_PREDICTION, INFERENCE_SERVICE
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    generation_of,
    is_deleting,
    key_of,
    timestamp_of,
    uid_of,
)
from pillion_operator.state.names import BATCH_LABEL, batch_job_name
from pillion_operator.state.observed import ObservedBatch, Outcome
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources import JsonObject
    from pillion_operator.apply.training import JobApplier
    from pillion_operator.observe.batch_status import BatchStatusReader
    from pillion_operator.observe.policies import NamespacePolicies
    from pillion_operator.observe.references import ReferenceReader
    from pillion_operator.observe.store import Store
    from pillion_operator.observe.training_pods import TrainingPodReader
    from pillion_operator.report.events import EventWriter
    from pillion_operator.report.status import StatusWriter
    from pillion_operator.state.settings import RenderSettings

__all__ = ["BatchParts", "BatchReconciler"]

#: How soon, and at last how often, to look again at something that is waited for and that no watch tells of.
_FIRST_SECONDS, _MOST_SECONDS = 3.0, 60.0
#: How often pods that run are asked how far they are: each look is at most one write.
_PROGRESS_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class BatchParts:
    """What a reconcile is made of."""

    store: Store
    references: ReferenceReader
    policies: NamespacePolicies
    reports: BatchStatusReader
    pods: TrainingPodReader
    applier: JobApplier
    status: StatusWriter
    events: EventWriter
    settings: RenderSettings
    wall_clock: Callable[[], float]
    clock: Callable[[], float]
    """Seconds that only ever grow."""


class BatchReconciler:
    """Brings one BatchPrediction in line with its manifest."""

    def __init__(self, parts: BatchParts) -> None:
        self._parts = parts
        self._patience: Patience[Key] = Patience(parts.clock, _FIRST_SECONDS, _MOST_SECONDS)

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return the seconds after which another is due without any event, None for never.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        stored = self._parts.store.get(BATCH_PREDICTION, key)
        if stored is None or is_deleting(stored):
            self._patience.forget(key)
            return None  # The garbage collector takes the Job: it carries an owner reference.
        timestamp = timestamp_of(self._parts.wall_clock())
        try:
            batch = BatchPrediction.from_api(stored)
        except ValidationError as error:
            status = invalid_status(stored, error, timestamp)
            if status is not None:
                await self._write(stored, status, Outcome())
            return None
        outcome = await self._apply(batch, self._observe(stored))
        observed = self._observe(self._parts.store.latest(BATCH_PREDICTION, stored))
        if not has_ended(observed.batch):
            if observed.job is not None and is_over(observed.job):
                pods = await self._parts.pods.read(observed.batch, observed.job, BATCH_LABEL)
                observed = replace(observed, pods=pods)
            else:
                observed = replace(observed, reports=await self._parts.reports.read(observed.pods))
        status = batch_status(batch, observed, outcome.problems, timestamp)
        ends = has_ended({"status": status}) and not has_ended(observed.batch)
        await self._write(observed.batch, status, outcome)
        # The end is recorded: now the Job may get its time to live.
        return 0.0 if ends and batch.spec.ttl_seconds_after_finished else self._next_look(status, observed, outcome)

    def _observe(self, stored: Manifest) -> ObservedBatch:
        name = batch_job_name(key_of(stored).name)
        return ObservedBatch(stored, *self._parts.store.job_of(stored, BATCH_PREDICTION, name))

    async def _apply(self, batch: BatchPrediction, observed: ObservedBatch) -> Outcome:
        stored, live, applier = observed.batch, observed.job, self._parts.applier
        ended = has_ended(stored)
        if live is not None:
            changes = {} if is_over(live) else job_changes(batch, live)
            if ended:
                changes = lifetime_change(batch, live)
            return await applier.change(live, changes, batch_hash(batch), "BatchPrediction")
        if ended:
            return Outcome()
        service: Manifest | None = None
        if batch.spec.inference_service is not None:
            key = Key(key_of(stored).namespace, batch.spec.inference_service)
            service = self._parts.store.get(INFERENCE_SERVICE, key)
            if service is None:
                text = f"InferenceService {key.name!r}, named in spec.inferenceService, is not there"
                remedy = "create it; the pods are made by themselves then"
                return Outcome((Problem(Reason.INFERENCE_SERVICE_NOT_FOUND, text, key.name, remedy=remedy),))
        try:
            references = await self._parts.references.of_batch(batch)
            rules = await self._parts.policies.read(key_of(stored).namespace)
            settings = self._parts.settings
            wanted = batch_job(batch, uid_of(stored), service, rules, references.credentials, settings)
        except PlanError as error:
            return Outcome((error.problem,))
        if references.missing:
            # A Job is made once: without its ServiceAccount's credentials it would never have them.
            return Outcome(references.missing)
        return await applier.create(stored, wanted)

    async def _write(self, stored: Manifest, status: JsonObject, outcome: Outcome) -> None:
        news = batch_happenings(stored, status, outcome)
        await self._parts.status.write(stored, status, BATCH_PREDICTION)
        for happening in news:
            await self._parts.events.post(stored, happening)

    def _next_look(self, status: JsonObject, observed: ObservedBatch, outcome: Outcome) -> float | None:
        key, waits = key_of(observed.batch), list[float]()
        # What the spec asks of a Job too late changes with the spec alone, and that is watched.
        # Words may differ from look to look, as those about a quota do.
        waited = tuple((p.reason, p.location) for p in outcome.problems if p.reason != Reason.IMMUTABLE)
        if waited:
            since = (uid_of(observed.batch), generation_of(observed.batch), waited)
            waits.append(self._patience.seconds(key, since))
        else:
            self._patience.forget(key)
        if not has_ended({"status": status}) and any(map(is_predicting, observed.pods)):
            waits.append(_PROGRESS_SECONDS)
        return min(waits, default=None)
