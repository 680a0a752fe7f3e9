"""`reconcile(key)`: observe, plan, apply, judge, report. One idempotent pass, whatever caused it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.resources import InferenceService, ServingRuntimeSpec
from pillion_operator.builders.builtin import builtin_runtimes
from pillion_operator.builders.declared import service_of
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.selection import Candidate
from pillion_operator.builders.trained import followed, following, lacks_training
from pillion_operator.judge.facts import deployment_facts, is_ready
from pillion_operator.judge.invalid import invalid_status
from pillion_operator.judge.pods import placement_wait
from pillion_operator.judge.scaling_active import first_metrics_wait
from pillion_operator.judge.status import facts_of, status_of
from pillion_operator.report.events import happenings
from pillion_operator.state.kinds import (
    CHILDREN,
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    MODEL,
    POD,
    RUNTIMES,
    SERVING_RUNTIME,
    TRAINING_JOB,
)
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    generation_of,
    is_deleting,
    key_of,
    number_at,
    object_at,
    objects_at,
    timestamp_of,
    uid_of,
    version_of,
)
from pillion_operator.state.names import predictor_name
from pillion_operator.state.observed import Observed, Outcome
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources import JsonObject
    from pillion_operator.apply.children import ChildApplier
    from pillion_operator.apply.nudge import PodNudger
    from pillion_operator.observe.policies import NamespacePolicies
    from pillion_operator.observe.references import ReferenceReader, References
    from pillion_operator.observe.runtime_status import RuntimeStatusReader
    from pillion_operator.observe.store import Store
    from pillion_operator.report.events import EventWriter
    from pillion_operator.report.status import StatusWriter
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.plan import Desired
    from pillion_operator.state.settings import RenderSettings

__all__ = ["Parts", "Reconciler"]

_log: Final = logging.getLogger(__name__)
#: How soon to look again at something that is waited for and that no watch tells of.
_WAITING_SECONDS: Final = 3.0
#: How often to look at certificates that are fine.
_CERTIFICATE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconcile is made of."""

    store: Store
    references: ReferenceReader
    policies: NamespacePolicies
    runtimes: RuntimeStatusReader
    applier: ChildApplier
    nudger: PodNudger
    status: StatusWriter
    events: EventWriter
    settings: RenderSettings
    wall_clock: Callable[[], float]
    cluster_runtimes: bool
    """Whether ClusterServingRuntimes can be read; else the built-in ones are taken from the operator itself."""
    optional_kinds: Callable[[], frozenset[Kind]] = frozenset
    """Which kinds of `state.kinds.OPTIONAL` the cluster has."""
    on_repair: Callable[[int], None] = lambda number: None  # noqa: ARG005 - the default takes no note


class Reconciler:
    """Brings one InferenceService in line with its manifest."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._candidates: dict[tuple[Kind, Key, str], Candidate | None] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return the seconds after which another is due without any event, None for never.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        stored = self._parts.store.get(INFERENCE_SERVICE, key)
        if stored is None or is_deleting(stored):
            return None  # The garbage collector takes the children: they carry owner references.
        try:
            service = InferenceService.from_api(stored)
        except ValidationError as error:
            await self._report_invalid(stored, error)
            return None
        training = None
        if service.spec.predictor.follow_trainings:
            training = followed(key, self._parts.store.all(TRAINING_JOB, key.namespace))
            service = following(service, training)
        observed = self._observe(stored)
        models = [model for model in self._parts.store.all(MODEL, key.namespace) if service_of(model) == key]
        healthy = _healthy(service, observed)
        references = await self._parts.references.read(service, healthy=healthy, fetches=bool(models))
        desired = plan(
            service,
            uid_of(stored),
            self._candidates_for(key.namespace),
            references.credentials,
            self._parts.settings,
            self._parts.optional_kinds(),
            await self._parts.policies.read(key.namespace),
            models,
        )
        desired = replace(desired, followed=training)
        waiting = lacks_training(service)
        if waiting is not None:
            desired = replace(desired, children=(), problem=waiting)
        outcome = await self._parts.applier.apply(observed, desired)
        if desired.complete:
            await self._parts.nudger.nudge(observed.pods, desired.models_digest)
        self._count_repairs(observed, outcome)
        observed = await self._look_again(stored, references)
        await self._report(service, observed, desired, outcome)
        return _next_look(observed, outcome)

    def _observe(self, stored: Manifest) -> Observed:
        store = self._parts.store
        return Observed(
            stored,
            store.children(stored, CHILDREN),
            tuple(store.owned(POD, key_of(stored))),
            now=self._parts.wall_clock(),
        )

    async def _look_again(self, stored: Manifest, references: References) -> Observed:
        """Observe after applying: the answers to our writes are in the store already."""
        latest = self._parts.store.get(INFERENCE_SERVICE, key_of(stored))
        same = latest is not None and generation_of(latest) == generation_of(stored)
        observed = self._observe(latest if latest is not None and same else stored)
        reports = await self._parts.runtimes.read(observed.pods)
        return replace(observed, certificates=references.certificates, missing=references.missing, reports=reports)

    async def _report(self, service: InferenceService, observed: Observed, desired: Desired, outcome: Outcome) -> None:
        timestamp = timestamp_of(observed.now)
        status = status_of(facts_of(service, observed, desired, outcome), timestamp)
        await self._write(observed.service, status, outcome)

    async def _report_invalid(self, stored: Manifest, error: ValidationError) -> None:
        """Say of an object that was stored under other rules what is wrong with it; nothing of it is changed."""
        timestamp = timestamp_of(self._parts.wall_clock())
        status = invalid_status(stored, error, timestamp)
        if status is not None:
            await self._write(stored, status, Outcome())

    async def _write(self, stored: Manifest, status: JsonObject, outcome: Outcome) -> None:
        news = happenings(stored, status, outcome)
        await self._parts.status.write(stored, status)
        for happening in news:
            await self._parts.events.post(stored, happening)

    def _count_repairs(self, observed: Observed, outcome: Outcome) -> None:
        seen_before = number_at(observed.service, "status", "observedGeneration") > 0
        repaired = len(outcome.repaired) + (len(outcome.created) if seen_before else 0)
        if repaired:
            self._parts.on_repair(repaired)

    def _candidates_for(self, namespace: str) -> list[Candidate]:
        store = self._parts.store
        stored = [(SERVING_RUNTIME, found) for found in store.all(SERVING_RUNTIME, namespace)]
        if self._parts.cluster_runtimes:
            stored += [(CLUSTER_SERVING_RUNTIME, found) for found in store.all(CLUSTER_SERVING_RUNTIME)]
        else:
            stored += [(CLUSTER_SERVING_RUNTIME, found) for found in builtin_runtimes(self._parts.settings)]
        found = (self._candidate(kind, manifest) for kind, manifest in stored if kind in RUNTIMES)
        return [candidate for candidate in found if candidate is not None]

    def _candidate(self, kind: Kind, manifest: Manifest) -> Candidate | None:
        identity = (kind, key_of(manifest), version_of(manifest))
        if identity not in self._candidates:
            if len(self._candidates) > 1000:
                self._candidates.clear()
            try:
                spec = ServingRuntimeSpec.from_api(object_at(manifest, "spec"))
            except ValidationError as error:
                _log.warning("%s %s cannot be used: %s", kind.name, key_of(manifest), error.errors()[0]["msg"])
                self._candidates[identity] = None
            else:
                self._candidates[identity] = Candidate(kind.name, key_of(manifest).name, spec)
        return self._candidates[identity]


def _healthy(service: InferenceService, observed: Observed) -> bool:
    facts = deployment_facts(observed, predictor_name(service.metadata.name or ""))
    return facts.rolled_out and facts.wanted > 0


def _next_look(observed: Observed, outcome: Outcome) -> float | None:
    """Return when to look again at what no watch tells of."""
    waits: list[float] = []
    # Only what carries our label is watched: nothing tells when somebody else's object has gone.
    if any(problem.reason == Reason.NAME_CONFLICT for problem in outcome.problems):
        waits.append(_WAITING_SECONDS)
    if observed.missing or any(not c.found or c.missing_keys or c.invalid for c in observed.certificates):
        waits.append(_WAITING_SECONDS)
    for certificate in observed.certificates:
        left = _CERTIFICATE_SECONDS if certificate.not_after is None else certificate.not_after - observed.now
        waits.append(min(_CERTIFICATE_SECONDS, left if left > 0 else _CERTIFICATE_SECONDS / 10))
    if any(not is_ready(pod) and not is_deleting(pod) and _runs(pod) for pod in observed.pods):
        waits.append(_WAITING_SECONDS)
    waits += [left for left in (first_metrics_wait(observed), placement_wait(observed.pods, observed.now)) if left]
    return min(waits) + 0.05 if waits else None


def _runs(pod: Manifest) -> bool:
    statuses = objects_at(pod, "status", "containerStatuses")
    return any(object_at(status, "state", "running") for status in statuses)
