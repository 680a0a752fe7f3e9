"""`reconcile(key)` of a TrainingJob: observe, plan, apply, judge, report, as for services."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.resources import TrainingJob
from pillion_operator.builders.trained import followed
from pillion_operator.builders.training import job_of, spec_hash, wanted_changes
from pillion_operator.judge.invalid import invalid_status
from pillion_operator.judge.training import has_ended, training_status
from pillion_operator.judge.training_pods import is_training
from pillion_operator.report.events import training_happenings
from pillion_operator.state.kinds import INFERENCE_SERVICE, JOB, POD, TRAINING_JOB
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    condition_of,
    controller_uid,
    generation_of,
    is_deleting,
    key_of,
    timestamp_of,
    uid_of,
)
from pillion_operator.state.names import training_job_name
from pillion_operator.state.observed import ObservedTraining, Outcome
from pillion_operator.state.plan import PlanError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources import JsonObject
    from pillion_operator.apply.training import JobApplier
    from pillion_operator.observe.references import ReferenceReader
    from pillion_operator.observe.store import Store
    from pillion_operator.observe.training_pods import TrainingPodReader
    from pillion_operator.observe.training_status import TrainingStatusReader
    from pillion_operator.report.events import EventWriter
    from pillion_operator.report.status import StatusWriter
    from pillion_operator.state.settings import RenderSettings

__all__ = ["TrainingParts", "TrainingReconciler"]

_log: Final = logging.getLogger(__name__)
#: How soon to look again at something that is waited for and that no watch tells of.
_WAITING_SECONDS: Final = 3.0
#: How often a training that runs is asked how far it is: each look is at most one write.
_PROGRESS_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """What a reconcile is made of."""

    store: Store
    references: ReferenceReader
    reports: TrainingStatusReader
    pods: TrainingPodReader
    applier: JobApplier
    status: StatusWriter
    events: EventWriter
    settings: RenderSettings
    wall_clock: Callable[[], float]


class TrainingReconciler:
    """Brings one TrainingJob in line with its manifest."""

    def __init__(self, parts: TrainingParts) -> None:
        self._parts = parts

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return the seconds after which another is due without any event, None for never.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        stored = self._parts.store.get(TRAINING_JOB, key)
        if stored is None or is_deleting(stored):
            return None  # The garbage collector takes the Job: it carries an owner reference.
        now = self._parts.wall_clock()
        timestamp = timestamp_of(now)
        try:
            job = TrainingJob.from_api(stored)
        except ValidationError as error:
            status = invalid_status(stored, error, timestamp)
            if status is not None:
                await self._write(stored, status, Outcome())
            return None
        observed = replace(self._observe(stored, job), now=now)
        outcome, missing = await self._apply(job, observed)
        observed = replace(self._observe(self._latest(stored), job), now=now, missing=missing)
        if observed.job is not None and _is_over(observed.job) and not has_ended(observed.training):
            observed = replace(observed, pods=await self._parts.pods.read(observed.training, observed.job))
        elif not has_ended(observed.training):
            observed = replace(observed, report=await self._parts.reports.read(observed.pods))
        status = training_status(job, observed, (*outcome.problems, *missing), timestamp)
        await self._write(observed.training, status, outcome)
        return _next_look(status, observed, (*outcome.problems, *missing))

    def _observe(self, stored: Manifest, job: TrainingJob) -> ObservedTraining:
        store, key = self._parts.store, key_of(stored)
        jobs = store.children(stored, (JOB,), TRAINING_JOB)[JOB]
        live = jobs.get(training_job_name(key.name))
        # A label can be put on any pod: what counts is that the Job made it.
        pods = [pod for pod in store.owned(POD, key, TRAINING_JOB) if live and controller_uid(pod) == uid_of(live)]
        service, newest = None, None
        if job.spec.deploy is not None:
            served = Key(key.namespace, job.spec.deploy.inference_service)
            service = store.get(INFERENCE_SERVICE, served)
            newest = followed(served, store.all(TRAINING_JOB, key.namespace))
        return ObservedTraining(stored, live, tuple(pods), service=service, followed=newest.training if newest else "")

    def _latest(self, stored: Manifest) -> Manifest:
        latest = self._parts.store.get(TRAINING_JOB, key_of(stored))
        same = (
            latest is not None and generation_of(latest) == generation_of(stored) and uid_of(latest) == uid_of(stored)
        )
        return latest if latest is not None and same else stored

    async def _apply(self, job: TrainingJob, observed: ObservedTraining) -> tuple[Outcome, tuple[Problem, ...]]:
        stored, live, applier = observed.training, observed.job, self._parts.applier
        finished = live is not None and _is_over(live)
        if live is not None and job.spec.cancel and not finished and not is_deleting(live):
            await applier.delete(live)
            return Outcome(), ()
        if live is not None:
            # What has ended is left as it is; only how long its pods stay may still be changed.
            changes = {} if finished or has_ended(stored) else wanted_changes(job, live)
            return await applier.change(live, changes, spec_hash(job)), ()
        if has_ended(stored) or job.spec.cancel:
            return Outcome(), ()
        try:
            references = await self._parts.references.of_training(job)
            wanted = job_of(job, uid_of(stored), references.credentials, self._parts.settings)
        except PlanError as error:
            return Outcome((error.problem,)), ()
        if references.missing:
            # A Job is made once: without its ServiceAccount's credentials it would never have them.
            return Outcome(), references.missing
        return await applier.create(stored, wanted), ()

    async def _write(self, stored: Manifest, status: JsonObject, outcome: Outcome) -> None:
        news = training_happenings(stored, status, outcome)
        await self._parts.status.write(stored, status, TRAINING_JOB)
        for happening in news:
            await self._parts.events.post(stored, happening)


def _is_over(job: Manifest) -> bool:
    return any(condition_of(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))


def _next_look(status: JsonObject, observed: ObservedTraining, problems: tuple[Problem, ...]) -> float | None:
    if has_ended({"status": status}):
        return None
    if problems:
        return _WAITING_SECONDS
    if any(is_training(pod) for pod in observed.pods):
        return _PROGRESS_SECONDS
    return None
