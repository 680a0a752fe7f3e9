"""Services that may have no pods: when theirs go, and whether the activator holds their connections meanwhile.

`course` puts the EndpointSlice into the plan as it should be now; `run` looks at the pods and at the activator, has a
service reconciled where that changes, and takes the last pods away. It never adds one: whoever wakes does. Nor does it
say where the activator is: its replicas do, so that they may be replaced while no operator runs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pillion_operator.builders.activator import endpoints_for, planned_before, ports_for
from pillion_operator.client.errors import ApiError
from pillion_operator.judge.facts import DeploymentFacts, deployment_facts, facts_of_deployment, is_ready
from pillion_operator.reconcile.rounds import Rounds
from pillion_operator.scaling.zero import Rest, next_step
from pillion_operator.state.kinds import CONTROLLER_REVISION, DEPLOYMENT, ENDPOINT_SLICE, INFERENCE_SERVICE
from pillion_operator.state.manifest import Key, Manifest, is_deleting, key_of, version_of
from pillion_operator.state.names import activator_slice_name, predictor_name
from pillion_operator.state.plan import Child, Note
from pillion_operator.state.reasons import Reason
from pillion_operator.state.revisions import Revision, RevisionState, revisions_of
from pillion_operator.state.scaling import ScalingReport
from pillion_operator.state.slices import addresses_of, holds, ports_of
from pillion_operator.state.zero import Activators, Standing, Step

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.observe.activators import ActivatorReader
    from pillion_operator.observe.pod_metrics import MetricsReader
    from pillion_operator.observe.store import Store
    from pillion_operator.scaling.decision import PodLoad
    from pillion_operator.state.observed import Observed
    from pillion_operator.state.plan import Desired

__all__ = ["Zero"]

_log: Final = logging.getLogger(__name__)
#: How long nobody has to answer before it is worth a word.
_SILENT_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Followed:
    """What is remembered of one service."""

    after: float | None
    """Seconds without a request before it may rest; None where it may not, and its pods are waited for."""
    revision: str
    """Of the pods that may rest; empty while another shares with it or stands in for it."""
    known: bool
    """Whether that one has been seen to start, as the plan was made."""
    rest: Rest
    led: tuple[tuple[str, ...], float] | None = None
    unserved: float | None = None
    """Since when no replica of the activator has said that it listens for it."""
    told: bool = False


class Zero:
    """Takes the last pods of services that nobody asks. `changed` is told of those to be reconciled."""

    def __init__(
        self,
        client: KubernetesClient,
        store: Store,
        loads: MetricsReader[PodLoad],
        activators: ActivatorReader,
        clock: Callable[[], float],
        changed: Callable[[Key], None],
    ) -> None:
        self._client = client
        self._store = store
        self._loads = loads
        self._reader = activators
        self._clock = clock
        self._changed = changed
        self._followed: dict[Key, _Followed] = {}
        self._reserved: dict[Key, dict[str, int]] = {}
        self._activators = Activators({})
        self._rounds = Rounds(clock, "looked at")

    def forget(self, key: Key) -> None:
        """Follow the service no more."""
        self._followed.pop(key, None)
        self._reserved.pop(key, None)

    def course(self, observed: Observed, desired: Desired) -> Desired:
        """Return the plan with the EndpointSlice as it should be now, or without it where there is to be none."""
        key = key_of(observed.service)
        planned, live = desired.lead, self._slice(key)
        if planned is None and live is not None and not desired.complete:
            # Its pods can be woken as they were: the way to the activator has to stay right.
            planned = planned_before(live)
        if planned is None or desired.replicas.most == 0:
            self.forget(key)
            return desired
        facts = deployment_facts(observed, predictor_name(key.name))
        if desired.replicas.to_zero_after is None and (live is None or facts.available):
            self.forget(key)
            return desired
        ports = ports_for(planned, self._given(key, live), self._taken(key))
        if ports is None:
            self.forget(key)
            text = "spec.predictor.minReplicas: 0 (every port of the activator is taken; one pod stays)"
            note = Note(Reason.FIELDS_NOT_HONOURED, text)
            bounds = replace(desired.replicas, to_zero_after=None)
            return replace(desired, replicas=bounds, notes=(*desired.notes, note))
        self._reserved[key] = ports
        followed = self._follow(key, desired, observed.revisions)
        if not followed.known and desired.complete:
            # What never ran is tried before it may rest.
            desired = replace(desired, replicas=replace(desired.replicas, to_zero_after=None))
        held = self._step(followed, facts) is not Step.WITHDRAW
        # Before the Deployment, whose last pod it stands in for.
        lead = Child(ENDPOINT_SLICE, endpoints_for(planned, ports, self._reader.name, held=held))
        return replace(desired, children=(lead, *desired.children))

    def report(self, key: Key) -> ScalingReport | None:
        """Return what keeps the service from resting; None where nothing does, or it is not known yet."""
        followed = self._followed.get(key)
        if followed is None or not followed.told:
            return None
        text = "no replica of the activator answers that it listens for this service, so one pod stays"
        return ScalingReport(Reason.ACTIVATOR_UNAVAILABLE, text)

    async def run(self, leading: asyncio.Event) -> None:
        """Look at every service again and again while this replica leads, until cancelled."""
        await self._rounds.run(leading, self._round)

    async def _round(self) -> None:
        if self._followed:
            await self._look_at_activators()
            await self._rounds.look(list(self._followed), self._look)

    async def _look_at_activators(self) -> None:
        try:
            self._activators = await self._reader.read()
        except ApiError as error:
            # What was known last stays: an API server that is away does not make the activator go away.
            _log.warning("the activator could not be found: %s", error)

    async def _look(self, key: Key) -> None:
        deployment = self._store.get(DEPLOYMENT, Key(key.namespace, predictor_name(key.name)))
        followed, live = self._followed.get(key), self._slice(key)
        if followed is None or live is None or deployment is None or is_deleting(deployment):
            return
        facts = facts_of_deployment(deployment)
        if facts.wanted:
            pods = [pod for pod in self._store.pods(key) if is_ready(pod)]
            loads = await self._loads.read(pods)
            if self._followed.get(key) is not followed:
                return  # The manifest was changed meanwhile.
            followed.rest.look(self._clock(), loads)
        else:
            followed.rest = Rest()
        ports, leads = ports_of(live), addresses_of(live)
        self._note_lead(followed, leads, self._serving(key, ports))
        self._tell(key, followed, served=bool(self._serving(key, ports)))
        # Our own note that a revision has started is no event.
        known = _is_known(followed.revision, self._revisions(key))
        step = self._step(followed, facts)
        if known != followed.known:
            self._changed(key)
        elif step is Step.SLEEP:
            await self._sleep(followed, deployment)
        elif self._given(key, live) != ports or holds(live, self._reader.name) == (step is Step.WITHDRAW):
            self._changed(key)

    async def _sleep(self, followed: _Followed, deployment: Manifest) -> None:
        """Ask for no pods, where the Deployment is still the one that was looked at."""
        patch: Manifest = {"metadata": {"resourceVersion": version_of(deployment)}, "spec": {"replicas": 0}}
        await self._client.merge(DEPLOYMENT, key_of(deployment), patch, subresource="scale")
        followed.rest = Rest()
        _log.info("scaled Deployment %s to zero: nothing has been asked of it", key_of(deployment))

    def _note_lead(self, followed: _Followed, leads: tuple[str, ...], serving: tuple[str, ...]) -> None:
        if not leads or not set(leads) <= set(serving):
            followed.led = None
        elif followed.led is None or followed.led[0] != leads:
            followed.led = (leads, self._clock())

    def _tell(self, key: Key, followed: _Followed, *, served: bool) -> None:
        """Take note of whether the activator is there for it; one that has just been told of it takes a moment."""
        now = self._clock()
        followed.unserved = None if served else now if followed.unserved is None else followed.unserved
        told = followed.unserved is not None and now - followed.unserved >= _SILENT_SECONDS
        if told != followed.told:
            followed.told = told
            self._changed(key)

    def _step(self, followed: _Followed, facts: DeploymentFacts) -> Step:
        now = self._clock()
        settled = followed.after is not None and followed.known and facts.rolled_out
        led = None if followed.led is None else now - followed.led[1]
        standing = Standing(facts.wanted, facts.available, settled, led, followed.rest.quiet_for(now))
        return next_step(standing, followed.after or 0.0)

    def _follow(self, key: Key, desired: Desired, revisions: Iterable[Revision]) -> _Followed:
        alone = desired.complete and desired.split is None and desired.rolled_back is None
        revision = desired.revision if alone else ""
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = _Followed(None, "", known=False, rest=Rest())
        followed.after, followed.revision = desired.replicas.to_zero_after, revision
        followed.known = _is_known(revision, revisions)
        return followed

    def _revisions(self, key: Key) -> tuple[Revision, ...]:
        service = self._store.get(INFERENCE_SERVICE, key)
        if service is None:
            return ()
        return revisions_of(self._store.children(service, (CONTROLLER_REVISION,))[CONTROLLER_REVISION].values())

    def _slice(self, key: Key) -> Manifest | None:
        return self._store.get(ENDPOINT_SLICE, Key(key.namespace, activator_slice_name(key.name)))

    def _serving(self, key: Key, ports: dict[str, int]) -> tuple[str, ...]:
        return self._activators.serving(_standing_for(key, ports))

    def _taken(self, key: Key) -> set[int]:
        # What the activator keeps for a namespace that is not looked after any more is not free.
        taken = {*self._activators.of_others(_service(key))}
        taken |= {number for owner, ports in self._reserved.items() if owner != key for number in ports.values()}
        for one in self._store.all(ENDPOINT_SLICE):
            if key_of(one) != Key(key.namespace, activator_slice_name(key.name)):
                taken.update(ports_of(one).values())
        return taken

    def _given(self, key: Key, live: Manifest | None) -> dict[str, int]:
        """Return the numbers that the service has: as given here, since others may edit the slice, else as stored."""
        given, followed = self._reserved.get(key), self._followed.get(key)
        if given is not None:
            # What stands for another for long is not the service's, whoever was to have it.
            lost = self._activators.of_others(_service(key)) if followed is not None and followed.told else ()
            return {name: number for name, number in given.items() if number not in lost}
        taken = self._taken(key)
        return {name: number for name, number in ports_of(live).items() if number not in taken}


def _service(key: Key) -> str:
    """Return the Service as the activator calls it."""
    return f"{key.namespace}/{predictor_name(key.name)}"


def _standing_for(key: Key, ports: dict[str, int]) -> dict[int, str]:
    """Return what each number is to stand for."""
    return {number: f"{_service(key)}:{name}" for name, number in ports.items()}


def _is_known(revision: str, revisions: Iterable[Revision]) -> bool:
    """Whether the revision has been seen to become available."""
    good = (one for one in revisions if one.state == RevisionState.ROLLED_OUT)
    return bool(revision) and any(one.digest == revision for one in good)
