"""`reconcile(key)`: observe, plan, apply, judge, report. One idempotent pass, whatever caused it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.resources import InferenceService
from pillion_operator.builders.certificates import with_certificate
from pillion_operator.builders.components import with_components
from pillion_operator.builders.declared import digest_in, given_up, service_of
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.rights import told_of_rights
from pillion_operator.builders.trained import followed, following, lacks_training
from pillion_operator.judge.certificates import unready_certificate
from pillion_operator.judge.deadline import overdue_wait
from pillion_operator.judge.facts import deployment_facts, is_ready
from pillion_operator.judge.invalid import invalid_status
from pillion_operator.judge.own_models import next_look
from pillion_operator.judge.placement import placement_look
from pillion_operator.judge.pods import placement_wait
from pillion_operator.judge.scaling_active import first_metrics_wait
from pillion_operator.judge.status import facts_of, status_of
from pillion_operator.observe.candidates import RuntimeCandidates
from pillion_operator.reconcile.patience import Patience
from pillion_operator.reconcile.placing import placed
from pillion_operator.reconcile.routes import routed
from pillion_operator.reconcile.unread import keep_certificate
from pillion_operator.report.events import happenings
from pillion_operator.state.kinds import (
    CERTIFICATE,
    CHILDREN,
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    MODEL,
    TRAINING_JOB,
)
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    generation_of,
    is_deleting,
    is_reachable,
    key_of,
    number_at,
    object_at,
    objects_at,
    text_at,
    timestamp_of,
    uid_of,
)
from pillion_operator.state.names import models_config_name, predictor_name
from pillion_operator.state.observed import Observed, Outcome
from pillion_operator.state.reasons import Reason
from pillion_operator.state.revisions import revisions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.resources import JsonObject
    from pillion_operator.apply.children import ChildApplier
    from pillion_operator.apply.nudge import PodNudger
    from pillion_operator.builders.rights import Lack
    from pillion_operator.judge.own_models import OwnModelFacts
    from pillion_operator.observe.declared_status import DeclaredStatusReader
    from pillion_operator.observe.policies import NamespacePolicies
    from pillion_operator.observe.references import ReferenceReader, References
    from pillion_operator.observe.runtime_status import RuntimeStatusReader
    from pillion_operator.observe.store import Store
    from pillion_operator.reconcile.rollouts import Rollouts
    from pillion_operator.reconcile.scaling import Scaling
    from pillion_operator.reconcile.self_signed import SelfSigned
    from pillion_operator.reconcile.zero import Zero
    from pillion_operator.report.events import EventWriter
    from pillion_operator.report.status import StatusWriter
    from pillion_operator.state.certificates import KeptCertificate
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.plan import Desired, Problem
    from pillion_operator.state.settings import RenderSettings

__all__ = ["Parts", "Reconciler"]

_log: Final = logging.getLogger(__name__)
#: How often to look at pods that start: what their runtime says is told by no watch.
_STARTING_SECONDS: Final = 3.0
#: How soon, and at last how often, to look again at what somebody else has to mend and no watch tells of. Secrets are
#: not watched: whoever may watch them may read them all.
_FIRST_SECONDS, _MOST_SECONDS = 3.0, 60.0
#: How often to look at certificates that are fine, and at Gateways.
_CERTIFICATE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconcile is made of."""

    store: Store
    references: ReferenceReader
    policies: NamespacePolicies
    runtimes: RuntimeStatusReader
    declared: DeclaredStatusReader
    applier: ChildApplier
    nudger: PodNudger
    rollouts: Rollouts
    status: StatusWriter
    events: EventWriter
    scaling: Scaling
    zero: Zero
    self_signed: SelfSigned
    settings: RenderSettings
    wall_clock: Callable[[], float]
    cluster_runtimes: bool
    """Whether ClusterServingRuntimes can be read; else the built-in ones are taken from the operator itself."""
    optional_kinds: Callable[[], frozenset[Kind]] = frozenset
    """Which kinds of `state.kinds.OPTIONAL` the cluster has."""
    kinds_away: Callable[[], frozenset[Kind]] = frozenset
    """Which others it may have: they do not answer."""
    lacks: Callable[[str], Sequence[Lack]] = lambda namespace: ()  # noqa: ARG005 - by default nothing lacks
    """Which rights the operator lacks in a namespace."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that only ever grow."""
    on_repair: Callable[[int], None] = lambda number: None  # noqa: ARG005 - the default takes no note


class Reconciler:
    """Brings one InferenceService in line with its manifest."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._candidates = RuntimeCandidates(parts.store, parts.settings, cluster_runtimes=parts.cluster_runtimes)
        self._patience: Patience[Key] = Patience(parts.clock, _FIRST_SECONDS, _MOST_SECONDS)

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return the seconds after which another is due without any event, None for never.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        stored = self._parts.store.get(INFERENCE_SERVICE, key)
        if stored is None or is_deleting(stored):
            self._parts.scaling.follow(key, None)
            self._parts.zero.forget(key)
            self._parts.rollouts.forget(key)
            self._parts.self_signed.forget(key)
            self._patience.forget(key)
            return None  # The garbage collector takes the children: they carry owner references.
        try:
            service = InferenceService.from_api(stored)
        except ValidationError as error:
            await self._report_invalid(stored, error)
            return await keep_certificate(self._parts.self_signed, self._parts.applier, self._observe(stored))
        training = None
        if service.spec.predictor.follow_trainings and service.spec.predictor.serving_model is not None:
            training = followed(key, self._parts.store.all(TRAINING_JOB, key.namespace))
            service = following(service, training)
        observed = self._observe(stored)
        models = [model for model in self._parts.store.all(MODEL, key.namespace) if service_of(model) == key]
        healthy = _healthy(service, observed)
        references = await self._parts.references.read(service, healthy=healthy, fetches=bool(models))
        rules = await self._parts.policies.read(key.namespace)
        desired = plan(
            service,
            uid_of(stored),
            self._candidates.of(key.namespace),
            references.credentials,
            self._parts.settings,
            self._parts.optional_kinds(),
            rules,
            models,
            observed.children.get(CONFIG_MAP, {}).get(models_config_name(key.name)),
        )
        kept = await self._parts.self_signed.keep(service, observed, secure=desired.endpoints.secure)
        references = references.with_kept(kept)
        desired = with_certificate(
            service,
            stored,
            desired,
            kept,
            references.certificates,
            self._parts.optional_kinds(),
            self._parts.settings.cluster_domain,
            self._parts.kinds_away(),
        )
        desired = replace(desired, followed=training)
        waiting = lacks_training(service)
        if waiting is not None:
            desired = replace(desired, children=(), problem=waiting)
        observed = replace(observed, certificates=references.certificates, rules=rules)
        desired = await self._parts.rollouts.course(service, observed, desired)
        desired = self._parts.zero.course(observed, desired)
        desired = await placed(service, observed, desired, self._parts.declared)
        desired = with_components(
            service, uid_of(stored), desired, self._parts.settings, self._parts.optional_kinds()
        )  # fmt: skip
        desired = routed(service, observed, desired, self._parts.store, self._parts.optional_kinds())
        desired = told_of_rights(desired, self._parts.lacks(key.namespace))
        self._parts.scaling.follow(key, desired.replicas)
        outcome = await self._parts.applier.apply(observed, desired)
        news = desired.progress.news if desired.progress else ""
        outcome = replace(outcome, given_up=_given_up(observed, desired, outcome), news=news)
        if desired.complete and self._holds(stored, desired.models_digest):
            await self._parts.nudger.nudge(observed.pods, desired.models_digest)
        self._count_repairs(observed, outcome)
        observed = await self._look_again(
            stored, references, asked=bool(desired.models) or desired.placement is not None
        )
        desired = await self._parts.rollouts.settle(observed, desired)
        facts = facts_of(service, observed, desired, outcome)
        await self._write(observed.service, status_of(facts, timestamp_of(observed.now)), outcome)
        return self._next_look(observed, desired, outcome, kept, facts.models)

    def _next_look(
        self,
        observed: Observed,
        desired: Desired,
        outcome: Outcome,
        kept: KeptCertificate | None = None,
        models: Sequence[OwnModelFacts] = (),
    ) -> float | None:
        """Return when to look again at what no watch tells of."""
        key, waits = key_of(observed.service), _other_waits(observed, desired)
        waits += [] if kept is None else [kept.wait]
        of_models = next_look(models)
        waits += [] if of_models is None else [of_models]
        of_placement = placement_look(desired.placement, observed.declared)
        waits += [] if of_placement is None else [of_placement]
        trouble = _of_others(observed, outcome)
        if trouble is None:
            self._patience.forget(key)
        else:
            waits.append(self._patience.seconds(key, trouble))
        return min(waits) + 0.05 if waits else None

    def _holds(self, service: Manifest, digest: str) -> bool:
        """Whether the ConfigMap of declared models is as planned: a kubelet told before would bring the former one."""
        configs = self._parts.store.children(service, (CONFIG_MAP,))[CONFIG_MAP]
        return digest == digest_in(configs.get(models_config_name(key_of(service).name)))

    def _observe(self, stored: Manifest) -> Observed:
        store = self._parts.store
        return Observed(
            stored,
            store.children(stored, CHILDREN),
            tuple(store.pods(key_of(stored))),
            beside=tuple(store.pods(key_of(stored), beside=True)),
            now=self._parts.wall_clock(),
            revisions=revisions_of(store.children(stored, (CONTROLLER_REVISION,))[CONTROLLER_REVISION].values()),
        )

    async def _look_again(self, stored: Manifest, references: References, *, asked: bool) -> Observed:
        """Observe after applying: the answers to our writes are in the store already.

        Pods are `asked` of each model where the manifest declares several, or they are spread over the pods.
        """
        latest = self._parts.store.get(INFERENCE_SERVICE, key_of(stored))
        same = latest is not None and generation_of(latest) == generation_of(stored)
        observed = self._observe(latest if latest is not None and same else stored)
        reports = await self._parts.runtimes.read(observed.pods)
        unready, awaited = _unready_certificates(observed)
        reached = [pod for pod in observed.pods if is_reachable(pod)] if asked else []
        return replace(
            observed,
            # Whoever is to make a Secret says best why it is not there.
            certificates=tuple(one for one in references.certificates if one.found or one.secret not in awaited),
            missing=(*references.missing, *unready),
            gateway=references.gateway,
            reports=reports,
            declared=await self._parts.declared.read(reached),
            scaling=self._parts.scaling.report(key_of(stored)),
            resting=self._parts.zero.report(key_of(stored)),
        )

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


def _given_up(observed: Observed, desired: Desired, outcome: Outcome) -> tuple[str, ...]:
    """Return the declared models that the pods were told of before, and are told of no more."""
    name = models_config_name(key_of(observed.service).name)
    if not desired.complete or any(problem.location == f"{CONFIG_MAP.name}/{name}" for problem in outcome.problems):
        return ()
    planned = (child.manifest for child in desired.children if child.kind is CONFIG_MAP)
    return given_up(
        observed.children.get(CONFIG_MAP, {}).get(name),
        next((manifest for manifest in planned if key_of(manifest).name == name), None),
    )


def _unready_certificates(observed: Observed) -> tuple[tuple[Problem, ...], frozenset[str]]:
    """Return what is wrong with Certificates, and the names of the Secrets that they are to make."""
    found = [(unready_certificate(live), live) for live in observed.children.get(CERTIFICATE, {}).values()]
    awaited = frozenset(text_at(live, "spec", "secretName") for problem, live in found if problem is not None)
    return tuple(problem for problem, _ in found if problem is not None), awaited


def _healthy(service: InferenceService, observed: Observed) -> bool:
    facts = deployment_facts(observed, predictor_name(service.metadata.name or ""))
    return facts.rolled_out and facts.wanted > 0


def _of_others(observed: Observed, outcome: Outcome) -> object:
    """What somebody else has to mend and no watch tells of; None where nothing is."""
    # Only what carries our label is watched: nothing tells when somebody else's object has gone.
    alone = {Reason.NAME_CONFLICT, Reason.KIND_UNAVAILABLE}
    conflicts = tuple(one.location for one in outcome.problems if one.reason in alone)
    missing = tuple((one.reason, one.location, one.text) for one in observed.missing)
    unusable = tuple(one for one in observed.certificates if not one.found or one.missing_keys or one.invalid)
    gateway = observed.gateway is not None and not observed.gateway.found
    if not (conflicts or missing or unusable or gateway):
        return None
    return uid_of(observed.service), generation_of(observed.service), conflicts, missing, unusable, gateway


def _other_waits(observed: Observed, desired: Desired) -> list[float]:
    """When to look again at what takes its time."""
    waits: list[float] = []
    if desired.progress is not None and desired.progress.wait is not None:
        waits.append(desired.progress.wait)
    if desired.routes is not None and desired.routes.settles:
        waits.append(desired.routes.settles)
    if observed.gateway is not None:
        # It is not watched: others may change what it listens on.
        waits.append(_CERTIFICATE_SECONDS)
    for certificate in observed.certificates:
        left = _CERTIFICATE_SECONDS if certificate.not_after is None else certificate.not_after - observed.now
        waits.append(min(_CERTIFICATE_SECONDS, left if left > 0 else _CERTIFICATE_SECONDS / 10))
    if any(not is_ready(pod) and not is_deleting(pod) and _runs(pod) for pod in observed.pods):
        waits.append(_STARTING_SECONDS)
    deployments = observed.children.get(DEPLOYMENT, {}).values()
    patience = (
        first_metrics_wait(observed),
        placement_wait((*observed.pods, *observed.beside), observed.now),
        *(overdue_wait(live, observed.pods, observed.now) for live in deployments),
    )
    return waits + [left for left in patience if left]


def _runs(pod: Manifest) -> bool:
    statuses = objects_at(pod, "status", "containerStatuses")
    return any(object_at(status, "state", "running") for status in statuses)
