"""Which revision of a service its pods are to be of: the one that its manifest asks for, or the last that was good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pillion.resources.conventions import authority_config
from pillion_operator.analysis.sides import Side, Sides, next_split
from pillion_operator.builders.canary import canary_children, listens_alike
from pillion_operator.builders.guards import asks_more, guarded
from pillion_operator.builders.kept import revision_manifest, with_former_models, with_kept
from pillion_operator.builders.planned import first_of
from pillion_operator.builders.policed import policed
from pillion_operator.builders.variables import known_by, sources_of
from pillion_operator.judge.deadline import overdue
from pillion_operator.judge.facts import deployment_facts, is_ready
from pillion_operator.judge.pods import unplaced
from pillion_operator.judge.routes import followed, share_of
from pillion_operator.judge.status import facts_of
from pillion_operator.state.kinds import CERTIFICATE, CONFIG_MAP, DEPLOYMENT, GATEWAY_ROUTES
from pillion_operator.state.manifest import generation_of, key_of, labels_of, object_at, revision
from pillion_operator.state.names import (
    CANARY,
    REVISION_GENERATION_ANNOTATION,
    REVISION_MESSAGE_ANNOTATION,
    REVISION_STATE_ANNOTATION,
    VARIANT_LABEL,
    canary_name,
    certificate_name,
    models_config_name,
    predictor_name,
    runtime_config_of_canary,
)
from pillion_operator.state.observed import Outcome
from pillion_operator.state.plan import Note, Split
from pillion_operator.state.reasons import Reason
from pillion_operator.state.revisions import (
    ANALYSIS,
    RevisionState,
    RolledBack,
    failed,
    last_good,
    next_number,
    surplus,
)

if TYPE_CHECKING:
    from pillion.resources import InferenceService, JsonObject
    from pillion_operator.apply.revisions import RevisionKeeper
    from pillion_operator.builders.guards import Guarded
    from pillion_operator.builders.variables import Keys
    from pillion_operator.observe.revisions import RevisionReader
    from pillion_operator.observe.runtime_status import RuntimeStatusReader
    from pillion_operator.observe.variables import VariableNames
    from pillion_operator.reconcile.stages import Stages
    from pillion_operator.state.manifest import Key
    from pillion_operator.state.observed import Observed
    from pillion_operator.state.plan import Desired
    from pillion_operator.state.revisions import Revision

__all__ = ["RolloutParts", "Rollouts"]


@dataclass(frozen=True, slots=True)
class RolloutParts:
    """What deciding about rollouts is made of."""

    reader: RevisionReader
    keeper: RevisionKeeper
    runtimes: RuntimeStatusReader
    stages: Stages
    variables: VariableNames


class Rollouts:
    """Goes back to the last good revision where the newest does not become ready, and keeps those that do."""

    def __init__(self, parts: RolloutParts) -> None:
        self._parts = parts

    async def course(self, service: InferenceService, observed: Observed, desired: Desired) -> Desired:
        """Return the plan with the pods of the revision that is to serve, and with the models that they need.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        found = await self._course(service, observed, desired)
        name = key_of(observed.service).name
        live = deployment_facts(observed, predictor_name(name))
        if live.rolled_out and live.revision == desired.revision:
            return found
        config = observed.children.get(CONFIG_MAP, {}).get(models_config_name(name))
        return with_former_models(observed.service, found, config, observed.rules)

    async def _course(self, service: InferenceService, observed: Observed, desired: Desired) -> Desired:
        good, key = last_good(observed.revisions), key_of(observed.service)
        if not desired.complete:
            self.forget(key)
            return desired
        # What was rolled out before and is in trouble later is not in trouble because of its revision.
        if good is None or good.digest == desired.revision:
            self.forget(key)
            return _withdrawing(observed, desired, 100)
        # The last good one goes on serving, and may be gone back to, with the certificate that it has.
        kept_for_it = {(CERTIFICATE, certificate_name(key.name)), (CONFIG_MAP, authority_config(key.name))}
        desired = replace(desired, spared=desired.spared | kept_for_it)
        lost = failed(observed.revisions, desired.revision, generation_of(observed.service))
        if lost is None and _given_up(observed, desired):
            kept = await self._fail(service, observed, desired)
            desired, lost = _noted(desired, kept)
        percent = service.spec.predictor.canary_traffic_percent
        if lost is None:
            progress = await self._parts.stages.progress(service, observed, desired, good)
            desired = replace(desired, progress=progress)
            percent = percent if progress is None else progress.percent
            if progress is not None and progress.failed:
                desired, lost = _noted(desired, await self._mark(observed, desired, f"{ANALYSIS}{progress.analysis}"))
        else:
            self.forget(key)
        shared = percent is not None and percent < 100
        if lost is None and not shared:
            return _promoting(observed, desired)
        data = await self._parts.reader.read(key.namespace, good)
        if data is None:
            return _promoting(observed, desired)
        of_now = policed(data, observed.rules)
        data = of_now.data
        held = _guarded(observed, desired, data, await self._keys(observed, desired, data))
        if lost is not None:
            former = with_kept(observed.service, desired, held.data)
            guards = replace(held.guards, refused=of_now.refused)
            return replace(_withdrawing(observed, former, 0), rolled_back=RolledBack(lost, good, guards))
        if of_now.refused:
            text = (
                f"{' and '.join(of_now.refused)}: new pods of the last good revision load none, those that serve go on"
            )
            desired = replace(desired, notes=(*desired.notes, Note(Reason.FIELDS_NOT_HONOURED, text)))
        if asks_more(observed.children.get(DEPLOYMENT, {}).get(predictor_name(key.name)), data):
            # A roll-back gave its pods what guards access, and a share for another version takes it from none.
            data = held.data
        elif held.guards.taken:
            fields = " and ".join(held.guards.taken)
            text = f"{fields} (pods of the last good revision serve as before until the newest version has taken over)"
            desired = replace(desired, notes=(*desired.notes, Note(Reason.FIELDS_NOT_HONOURED, text)))
        former = with_kept(observed.service, desired, data)
        return _shared(observed, desired, former, percent or 0, alike=listens_alike(data, desired))

    async def _keys(self, observed: Observed, desired: Desired, data: JsonObject) -> Keys:
        """Return what the objects hold that pods of either version have variables from."""
        key = key_of(observed.service)
        both = (object_at(first_of(desired, DEPLOYMENT), "spec"), data)
        sources = [source for one in both for source in sources_of(object_at(one, "template"))]
        if not sources:
            return {}
        live = object_at(observed.children.get(DEPLOYMENT, {}).get(predictor_name(key.name), {}), "spec", "template")
        # One that has gone is as it was for the pods that ask by it: they do not stop for that.
        remembered = {source: known for source in sources if (known := known_by(live, source))}
        return remembered | await self._parts.variables.read(key.namespace, sources)

    async def settle(self, observed: Observed, desired: Desired) -> Desired:
        """Keep the newest revision once all pods are of it: from then on it is the one to go back to.

        Return the plan, with a note where it cannot be kept.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        live = deployment_facts(observed, predictor_name(key_of(observed.service).name))
        newest = desired.revision
        if not (desired.complete and live.rolled_out and live.wanted > 0 and live.revision == newest):
            return desired
        known = next((one for one in observed.revisions if one.digest == newest), None)
        latest = max((one.number for one in observed.revisions), default=0)
        if known is None or known.state != RevisionState.ROLLED_OUT or known.number != latest:
            kept = await self._keep(observed, desired, known, RevisionState.ROLLED_OUT, "")
            if isinstance(kept, Note):
                return replace(desired, notes=(*desired.notes, kept))
        return desired

    def forget(self, key: Key) -> None:
        """Drop what was remembered of a service whose rollout is over, or that is gone."""
        self._parts.stages.forget(key)

    async def _fail(self, service: InferenceService, observed: Observed, desired: Desired) -> Revision | Note:
        """Say of the newest revision that it failed, and why: its pods, which know, are about to go."""
        reports = await self._parts.runtimes.read(observed.pods)
        # Whether it had a share or all, its pods are asked.
        asked = replace(desired, split=Split(service.spec.predictor.canary_traffic_percent or 0, 1, 1))
        facts = facts_of(service, replace(observed, reports=reports), asked, Outcome())
        why = facts.problems[0].text if facts.problems else "its pods give no reason"
        return await self._mark(observed, desired, why)

    async def _mark(self, observed: Observed, desired: Desired, why: str) -> Revision | Note:
        known = next((one for one in observed.revisions if one.digest == desired.revision), None)
        return await self._keep(observed, desired, known, RevisionState.FAILED, why)

    async def _keep(
        self, observed: Observed, desired: Desired, known: Revision | None, state: RevisionState, message: str
    ) -> Revision | Note:
        stored = observed.service
        annotations = {
            REVISION_STATE_ANNOTATION: str(state),
            REVISION_GENERATION_ANNOTATION: str(generation_of(stored)),
            REVISION_MESSAGE_ANNOTATION: message,
        }
        manifest = revision_manifest(stored, desired, next_number(observed.revisions), annotations)
        kept = await self._parts.keeper.keep(manifest, known)
        if not isinstance(kept, Note):
            others = (one for one in observed.revisions if one.digest != kept.digest)
            spare = surplus((*others, kept), kept.digest)
            await self._parts.keeper.drop(key_of(stored).namespace, spare)
        return kept


def _guarded(observed: Observed, desired: Desired, data: JsonObject, keys: Keys) -> Guarded:
    """Return a kept revision with what guards access in the newest manifest."""
    name = key_of(observed.service).name
    whole = guarded(name, desired, data, keys, certified=True)
    certified = not any(one.missing_keys or one.invalid or not one.found for one in observed.certificates)
    # Pods that have it once keep it, also where a Secret goes and another version has been tried since: what was
    # encrypted stays so.
    there = {revision(pod) for pod in observed.pods if is_ready(pod)}
    if certified or whole.guards.digest in {deployment_facts(observed, predictor_name(name)).revision, *there}:
        return whole
    return guarded(name, desired, data, keys, certified=False)


def _noted(desired: Desired, kept: Revision | Note) -> tuple[Desired, Revision | None]:
    """Return the plan, with a note where the verdict cannot be kept, and the revision that failed where it is."""
    if isinstance(kept, Note):
        return replace(desired, notes=(*desired.notes, kept)), None
    return desired, kept


def _shared(observed: Observed, desired: Desired, kept: Desired, percent: int, *, alike: bool) -> Desired:
    """Return the plan of the last good revision, with the newest beside it where it gets a share."""
    name = key_of(observed.service).name
    if not alike:
        stepped = desired.progress is not None and desired.progress.steps > 0
        text = f"spec.predictor.{'rollout.steps' if stepped else 'canaryTrafficPercent'} (the newest version listens "
        text += "on other ports than the one that serves, so they cannot share an address: it waits until "
        text += f"canaryTrafficPercent is 100{'' if stepped else ' or removed'})"
        kept = replace(kept, notes=(*kept.notes, Note(Reason.FIELDS_NOT_HONOURED, text)))
        kept = _withdrawing(observed, kept, percent)
        return kept if kept.split else replace(kept, split=Split(percent, 0, desired.replicas.least))
    beside = deployment_facts(observed, canary_name(name))
    shared = next_split(percent, desired.replicas, _sides(observed, desired, percent))
    kept = replace(kept, split=shared, replicas=replace(kept.replicas, least=shared.stable))
    # One that rests keeps its Deployment, which knows how far the steps are.
    keeps = percent > 0 and beside.revision == desired.revision
    if shared.stands_in and not keeps:
        return _keeping(name, kept)
    planned = shared.canary > 0 or keeps
    return replace(kept, children=(*kept.children, *canary_children(name, desired))) if planned else kept


def _withdrawing(observed: Observed, desired: Desired, percent: int) -> Desired:
    """Return the plan of one revision alone, with the pods beside it as long as they stand in for some of its own.

    Args:
        observed: what there is.
        desired: the plan of that revision.
        percent: what the newest revision is to have.
    """
    left = next_split(0, desired.replicas, _sides(observed, desired, 0))
    if not left.stands_in:
        return desired
    return _keeping(key_of(observed.service).name, replace(desired, split=replace(left, percent=percent)))


def _keeping(service: str, desired: Desired) -> Desired:
    """Return the plan with the Deployment beside as it is, whatever revision its pods are of."""
    there = {(DEPLOYMENT, canary_name(service)), (CONFIG_MAP, runtime_config_of_canary(service))}
    return replace(desired, spared=desired.spared | there)


def _sides(observed: Observed, desired: Desired, percent: int) -> Sides:
    """Return what there is of both revisions, by what Deployments and pods say."""
    service = key_of(observed.service).name
    live, beside = deployment_facts(observed, predictor_name(service)), deployment_facts(observed, canary_name(service))
    ours = [pod for pod in observed.pods if labels_of(pod).get(VARIANT_LABEL) != CANARY]
    ready = sum(map(is_ready, ours))
    # A count that has just been changed is ahead of what its controller says, and that of what pods do.
    serving = min(live.wanted, live.available, ready) if live.current else 0
    others = min(beside.wanted, max(beside.available, beside.ready, sum(map(is_ready, observed.pods)) - ready))
    newest = beside.available_of(desired.revision)
    weighed = _weighed(observed, canary_name(service), percent)
    crowded = bool(live.pods_refused) or unplaced(ours, observed.now)
    return Sides(Side(live.wanted, serving), Side(beside.wanted, others), newest, weighed, crowded)


def _weighed(observed: Observed, service: str, percent: int) -> bool:
    """Whether each Gateway that sends requests to the newest revision by weights gives it that share by now."""
    routes = (route for kind in GATEWAY_ROUTES for route in observed.children.get(kind, {}).values())
    shares = [(share_of(route, service), followed(route)) for route in routes]
    return all(share >= percent and taken for share, taken in shares if share is not None)


def _promoting(observed: Observed, desired: Desired) -> Desired:
    """Return the plan with the pods that had a share, until those that take over are there."""
    name = key_of(observed.service).name
    live, newest = deployment_facts(observed, predictor_name(name)), deployment_facts(observed, canary_name(name))
    there = live.rolled_out and live.revision == desired.revision
    if there or newest.revision != desired.revision or newest.wanted == 0 or desired.replicas.most == 0:
        return _withdrawing(observed, desired, 100)
    beside = canary_children(name, desired)
    return replace(
        desired, children=(*desired.children, *beside), split=Split(100, newest.wanted, desired.replicas.least)
    )


def _given_up(observed: Observed, desired: Desired) -> bool:
    """Whether a Deployment runs the newest revision, and had its time for it."""
    name = key_of(observed.service).name
    for deployment in (predictor_name(name), canary_name(name)):
        live = observed.children.get(DEPLOYMENT, {}).get(deployment)
        running = deployment_facts(observed, deployment).revision == desired.revision
        if running and desired.replicas.most != 0 and overdue(live, observed.pods, observed.now):
            return True
    return False
