"""`reconcile(key)` of a TrainingJob: observe, plan, apply, judge, report, as for services."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.resources import TrainingJob
from pillion_operator.builders.job import job_changes, lifetime_change
from pillion_operator.builders.trained import followed
from pillion_operator.builders.training import job_of, spec_hash
from pillion_operator.judge.invalid import invalid_status
from pillion_operator.judge.job import has_ended, is_over
from pillion_operator.judge.training import duration_of, training_status
from pillion_operator.judge.training_pods import is_training
from pillion_operator.reconcile.patience import Patience
from pillion_operator.report.events import training_happenings
from pillion_operator.state.kinds import INFERENCE_SERVICE, TRAINING_JOB
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    generation_of,
    is_deleting,
    key_of,
    text_at,
    timestamp_of,
    uid_of,
)
from pillion_operator.state.names import training_job_name
from pillion_operator.state.observed import ObservedTraining, Outcome
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

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
#: How soon, and at last how often, to look again at something that is waited for and that no watch tells of.
_FIRST_SECONDS, _MOST_SECONDS = 3.0, 60.0
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
    clock: Callable[[], float]
    """Seconds that only ever grow."""
    on_end: Callable[[str, float | None], None] = lambda state, seconds: None  # noqa: ARG005 - the default takes no note
    """Told the state of each training whose end was written down, and how long it took; None where it never began."""


class TrainingReconciler:
    """Brings one TrainingJob in line with its manifest."""

    def __init__(self, parts: TrainingParts) -> None:
        self._parts = parts
        self._patience: Patience[Key] = Patience(parts.clock, _FIRST_SECONDS, _MOST_SECONDS)

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return the seconds after which another is due without any event, None for never.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        stored = self._parts.store.get(TRAINING_JOB, key)
        if stored is None or is_deleting(stored):
            self._patience.forget(key)
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
        observed = replace(self._observe(self._parts.store.latest(TRAINING_JOB, stored), job), now=now, missing=missing)
        if observed.job is not None and is_over(observed.job) and not has_ended(observed.training):
            observed = replace(observed, pods=await self._parts.pods.read(observed.training, observed.job))
        elif not has_ended(observed.training):
            observed = replace(observed, report=await self._parts.reports.read(observed.pods))
        status = training_status(job, observed, (*outcome.problems, *missing), timestamp)
        await self._write(observed.training, status, outcome)
        return self._next_look(status, observed, (*outcome.problems, *missing))

    def _observe(self, stored: Manifest, job: TrainingJob) -> ObservedTraining:
        store, key = self._parts.store, key_of(stored)
        live, pods = store.job_of(stored, TRAINING_JOB, training_job_name(key.name))
        service, newest = None, None
        if job.spec.deploy is not None:
            served = Key(key.namespace, job.spec.deploy.inference_service)
            service = store.get(INFERENCE_SERVICE, served)
            newest = followed(served, store.all(TRAINING_JOB, key.namespace))
        return ObservedTraining(stored, live, pods, service=service, followed=newest.training if newest else "")

    async def _apply(self, job: TrainingJob, observed: ObservedTraining) -> tuple[Outcome, tuple[Problem, ...]]:
        stored, live, applier = observed.training, observed.job, self._parts.applier
        finished = live is not None and is_over(live)
        if live is not None and job.spec.cancel and not finished and not is_deleting(live):
            await applier.delete(live)
            return Outcome(), ()
        if live is not None:
            # What has ended is left as it is; only how long it stays is said, once its end is written down.
            if has_ended(stored):
                changes = lifetime_change(job, live) if finished else {}
            else:
                changes = {} if finished else job_changes(job, live)
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
        written = await self._parts.status.write(stored, status, TRAINING_JOB)
        if written and has_ended({"status": status}) and not has_ended(stored):
            self._parts.on_end(text_at(status, "state"), duration_of(status))
        for happening in news:
            await self._parts.events.post(stored, happening)

    def _next_look(self, status: JsonObject, observed: ObservedTraining, problems: tuple[Problem, ...]) -> float | None:
        key, waits = key_of(observed.training), list[float]()
        if not has_ended(observed.training) and has_ended(self._parts.store.latest(TRAINING_JOB, observed.training)):
            return 0.0  # That it ended is written down: the Job may be given the end of its own days now.
        # What the spec asks of a Job too late changes with the spec alone, and that is watched.
        # Its words may differ from look to look, as those about a quota do.
        waited = tuple((problem.reason, problem.location) for problem in problems if problem.reason != Reason.IMMUTABLE)
        if waited:
            since = (uid_of(observed.training), generation_of(observed.training), waited)
            waits.append(self._patience.seconds(key, since))
        else:
            self._patience.forget(key)
        if not has_ended({"status": status}) and any(is_training(pod) for pod in observed.pods):
            waits.append(_PROGRESS_SECONDS)
        return min(waits, default=None)
