"""The operator's own autoscaler: asks the pods, decides, and sets the count through the scale subresource.

Only the leader does, and each write passes the fence as all do. The count is set as any scaler sets it, by a merge
patch that no field manager owns, and only where the Deployment is still the one that was looked at.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.judge.facts import is_ready
from pillion_operator.reconcile.rounds import Rounds
from pillion_operator.scaling.decision import Decision, PodLoad, Scaler
from pillion_operator.state.kinds import DEPLOYMENT, INFERENCE_SERVICE
from pillion_operator.state.manifest import Key, Manifest, is_deleting, key_of, number_at, version_of
from pillion_operator.state.names import predictor_name
from pillion_operator.state.reasons import Reason
from pillion_operator.state.scaling import PodScaling, ScalingReport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.observe.pod_metrics import MetricsReader
    from pillion_operator.observe.store import Store
    from pillion_operator.state.plan import ReplicaBounds

__all__ = ["Scaling"]

_log: Final = logging.getLogger(__name__)
#: How long nobody has to answer before it is worth a word: one look may fail.
_SILENT_SECONDS: Final = 10.0


class Scaling:
    """Scales the services that `follow` names. `changed` is told of those whose report is another one now."""

    def __init__(
        self,
        client: KubernetesClient,
        store: Store,
        loads: MetricsReader[PodLoad],
        clock: Callable[[], float],
        changed: Callable[[Key], None],
    ) -> None:
        self._client = client
        self._store = store
        self._loads = loads
        self._clock = clock
        self._changed = changed
        self._bounds: dict[Key, ReplicaBounds] = {}
        self._scalers: dict[Key, tuple[PodScaling, Scaler]] = {}
        self._reports: dict[Key, ScalingReport] = {}
        self._heard: dict[Key, float] = {}
        self._rounds = Rounds(clock, "scaled")

    def follow(self, key: Key, bounds: ReplicaBounds | None) -> None:
        """Scale the service within these bounds from now on; not at all where they do not ask for it."""
        if bounds is not None and bounds.by_pods is not None:
            if self._bounds.get(key) != bounds:
                self._bounds[key] = bounds
                self._reports.pop(key, None)
            return
        self._bounds.pop(key, None)
        self._scalers.pop(key, None)
        self._reports.pop(key, None)
        self._heard.pop(key, None)

    def report(self, key: Key) -> ScalingReport | None:
        """Return what was last decided for the service; None before the first look."""
        return self._reports.get(key)

    async def run(self, leading: asyncio.Event) -> None:
        """Look at every service again and again while this replica leads, until cancelled."""
        await self._rounds.run(leading, lambda: self._rounds.look(list(self._bounds), self._look))

    async def _look(self, key: Key) -> None:
        deployment = self._store.get(DEPLOYMENT, Key(key.namespace, predictor_name(key.name)))
        bounds = self._bounds.get(key)
        if bounds is None or bounds.by_pods is None or bounds.most is None:
            return
        if self._store.get(INFERENCE_SERVICE, key) is None:
            self.follow(key, None)
            return
        if deployment is None or is_deleting(deployment) or number_at(deployment, "spec", "replicas", default=1) < 1:
            return
        scaler = self._scaler(key, bounds.by_pods)
        pods = [pod for pod in self._store.pods(key) if is_ready(pod)]
        loads = await self._loads.read(pods)
        if self._bounds.get(key) != bounds:
            return  # The manifest was changed meanwhile.
        now, current = self._clock(), number_at(deployment, "spec", "replicas", default=1)
        scaler.look(now, loads, bounds.by_pods.metric)
        decision = scaler.decide(now, current, bounds.by_pods, bounds.least, bounds.most)
        if decision.count is not None and decision.count != current:
            try:
                await self._set(deployment, decision.count)
            except ApiError as error:
                if not error.refused:
                    raise
                self._refuse(key, error)
                return
            _log.info("scaled Deployment %s from %d to %d", key_of(deployment), current, decision.count)
        self._say(key, bounds, bounds.by_pods, decision, current)

    def _scaler(self, key: Key, scaling: PodScaling) -> Scaler:
        known = self._scalers.get(key)
        if known is None or known[0] != scaling:
            # What was recommended under another target says nothing.
            known = self._scalers[key] = (scaling, Scaler())
        return known[1]

    async def _set(self, deployment: Manifest, count: int) -> None:
        patch: Manifest = {
            "metadata": {"resourceVersion": version_of(deployment)},
            "spec": {"replicas": count},
        }
        await self._client.merge(DEPLOYMENT, key_of(deployment), patch, subresource="scale")

    def _refuse(self, key: Key, error: ApiError) -> None:
        """Report that the API server does not let the count be set, and log it once."""
        text = f"the API server refused to change the number of pods: {error.message}"
        reason = Reason.FORBIDDEN if error.status == 403 else Reason.REFUSED
        report = ScalingReport(reason, text)
        if report != self._reports.get(key):
            _log.warning("InferenceService %s: %s", key, text)
            self._reports[key] = report
            self._changed(key)

    def _say(self, key: Key, bounds: ReplicaBounds, scaling: PodScaling, decision: Decision, before: int) -> None:
        """Report a decision that changed something; figures that only move are no news."""
        known = self._reports.get(key)
        heard = self._heard.setdefault(key, self._clock())
        if decision.count is not None or not decision.silent:
            # Where no pod is Ready that is said elsewhere, and a rate needs a second look.
            self._heard[key] = self._clock()
        if decision.count is None:
            if not decision.silent or self._clock() - heard < _SILENT_SECONDS:
                return
            text = "the number of pods stays as it is, since no Ready pod tells the operator what it counts"
            report = ScalingReport(Reason.METRICS_UNAVAILABLE, text)
        elif known is not None and known.reason == Reason.AUTOSCALING and decision.count == before:
            return
        else:
            report = ScalingReport(Reason.AUTOSCALING, _sentence(bounds, scaling, decision))
        if report != known:
            self._reports[key] = report
            self._changed(key)


def _sentence(bounds: ReplicaBounds, scaling: PodScaling, decision: Decision) -> str:
    metric = scaling.metric
    told = f"{decision.told} {'pod' if decision.told == 1 else 'pods'}"
    text = (
        f"Between {bounds.least} and {bounds.most} pods, by {metric.words}: {decision.load:.4g} in {told} over "
        f"{decision.over:.0f} s at the last change, at most {metric.target:g} for each, so {decision.count}"
    )
    if decision.silent:
        text += f"; {decision.silent} did not answer"
    return f"{text}; held by {decision.limit}." if decision.limit else f"{text}."
