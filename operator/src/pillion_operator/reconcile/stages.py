"""How far a rollout is: asks pods what they have answered, and decides by it which share is next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import is_paused
from pillion.trainingpod.order import seconds_of
from pillion_operator.analysis.sides import split
from pillion_operator.analysis.steps import Stage, Step, next_stage, rest
from pillion_operator.analysis.verdict import Finding, Limits, Verdict, judged
from pillion_operator.analysis.window import RequestCounts, Window
from pillion_operator.builders.canary import stage_of
from pillion_operator.judge.facts import deployment_facts, is_ready
from pillion_operator.judge.routes import followed
from pillion_operator.state.kinds import DEPLOYMENT, GATEWAY_ROUTES
from pillion_operator.state.manifest import Key, key_of, revision, uid_of
from pillion_operator.state.names import canary_name, predictor_name
from pillion_operator.state.plan import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from pillion.resources import InferenceService
    from pillion_operator.observe.pod_metrics import MetricsReader
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.observed import Observed
    from pillion_operator.state.plan import Desired
    from pillion_operator.state.revisions import Revision

__all__ = ["Stages"]

_WINDOW: Final = "5m"
#: How often pods are asked: as often as matters for the window, and not at each of many events.
_LOOKS: Final = 60
_SOONEST: Final = 1.0
_LATEST: Final = 15.0
_REMEMBERED: Final = 1000


@dataclass(slots=True)
class _Watch:
    """What is remembered of one rollout; a new leader begins anew, and holds until it has seen enough."""

    subject: tuple[str, str, float]
    newest: Window
    stable: Window
    looked: float = field(default=-1e9)


class Stages:
    """Knows for each service what its two revisions answered lately."""

    def __init__(self, reader: MetricsReader[RequestCounts], clock: Callable[[], float]) -> None:
        self._reader = reader
        self._clock = clock
        self._watches: dict[Key, _Watch] = {}

    async def progress(
        self, service: InferenceService, observed: Observed, desired: Desired, good: Revision
    ) -> Progress | None:
        """Return how far the newest revision is; None where the manifest has no steps and no analysis for it."""
        percent = service.spec.predictor.canary_traffic_percent
        steps = _steps(service) if percent is None else ()
        # Whoever gives it all by hand has decided, whatever the figures say.
        if percent == 100 or (percent is None and not steps):
            return None
        every, finding = await self._analysed(service, observed, desired, good)
        if percent is not None:
            if finding is None:
                return None
            return Progress(percent, analysis=_said(finding), failed=finding.verdict is Verdict.FAILS, wait=every)
        return _staged(service, observed, desired, steps, finding, every)

    def forget(self, key: Key) -> None:
        """Drop what was remembered of a rollout that is over."""
        self._watches.pop(key, None)

    async def _analysed(
        self, service: InferenceService, observed: Observed, desired: Desired, good: Revision
    ) -> tuple[float | None, Finding | None]:
        """Return how often to look, and what the pods' counters come to."""
        rollout, key = service.spec.predictor.rollout, key_of(observed.service)
        asked = rollout.analysis if rollout is not None else None
        limits = Limits(
            asked.greatest_error_rate if asked else None, seconds_of(asked.latency) if asked and asked.latency else None
        )
        if asked is None or limits == Limits():
            self._watches.pop(key, None)
            return None, None
        window = seconds_of(asked.window or _WINDOW)
        subject = (uid_of(observed.service), desired.revision, window)
        watch = self._watches.get(key)
        if watch is None or watch.subject != subject:
            while len(self._watches) >= _REMEMBERED:
                self._watches.pop(next(iter(self._watches)))
            watch = self._watches[key] = _Watch(subject, Window(window), Window(window))
        every = min(_LATEST, max(_SOONEST, window / _LOOKS))
        now = self._clock()
        if now - watch.looked >= every * 0.9:
            watch.looked = now
            # A roll-back may have given pods of the last good one what guards access, and a digest with it.
            live = deployment_facts(observed, predictor_name(key.name)).revision
            watch.newest.look(now, await self._counts(observed, {desired.revision}))
            watch.stable.look(now, await self._counts(observed, {good.digest, live} - {desired.revision}))
        return every, judged(limits, watch.newest.figures(), watch.stable.figures())

    async def _counts(self, observed: Observed, digests: AbstractSet[str]) -> dict[str, RequestCounts]:
        pods: list[Manifest] = [pod for pod in observed.pods if is_ready(pod) and revision(pod) in digests]
        read = await self._reader.read(pods)
        return {uid: counts for uid, counts in read.items() if counts is not None}


def _steps(service: InferenceService) -> tuple[Step, ...]:
    rollout = service.spec.predictor.rollout
    if rollout is None or not rollout.steps:
        return ()
    window = (rollout.analysis.window or _WINDOW) if rollout.analysis is not None else "0s"
    return tuple(Step(step.weight, seconds_of(step.pause or window)) for step in rollout.steps)


def _staged(
    service: InferenceService,
    observed: Observed,
    desired: Desired,
    steps: Sequence[Step],
    finding: Finding | None,
    every: float | None,
) -> Progress:
    name, total = key_of(observed.service).name, len(steps)
    if deployment_facts(observed, predictor_name(name)).revision == desired.revision:
        # It has begun to take over: what is left is an ordinary rollout.
        return Progress(100, total, total)
    before = stage_of(observed.children.get(DEPLOYMENT, {}).get(canary_name(name)), desired.revision)
    if before.index >= total:
        return Progress(100, total, total)
    stopped = desired.replicas.most == 0
    if stopped:
        # Nobody asks it anything: its step begins anew when it is back.
        before = Stage(before.index)
    reached = not stopped and _reached(observed, desired, steps[before.index].weight)
    held = is_paused(service.metadata)
    now = next_stage(steps, before, observed.now, reached=reached, finding=finding, held=held)
    analysis = "" if finding is None else _said(finding)
    if now.index >= total:
        news = f"All {total} steps of the rollout have passed, and the newest version takes over. {analysis}".rstrip()
        return Progress(100, total, total, analysis=analysis, news=news)
    failed = finding is not None and finding.verdict is Verdict.FAILS
    news = _news(before, now, steps, analysis)
    left = rest(steps, now, observed.now) if now.since else 0.0
    waits = [one for one in (every, left or None) if one is not None]
    wait = min(waits, default=None if now == before else _SOONEST)
    return Progress(steps[now.index].weight, now.index + 1, total, now.since, analysis, failed, news, wait)


def _reached(observed: Observed, desired: Desired, percent: int) -> bool:
    """Whether the newest revision has the pods of that share, and a Gateway has heard of it."""
    name = key_of(observed.service).name
    live = deployment_facts(observed, predictor_name(name))
    newest = deployment_facts(observed, canary_name(name))
    available = newest.available_of(desired.revision)
    wanted = split(percent, desired.replicas, live.wanted, available).canary
    routes = (route for kind in GATEWAY_ROUTES for route in observed.children.get(kind, {}).values())
    return available >= max(wanted, 1) and all(map(followed, routes))


def _news(before: Stage, now: Stage, steps: Sequence[Step], analysis: str) -> str:
    begun = now.index == 0 and now.since > 0 and before.since == 0
    if now.index == before.index and not begun:
        return ""
    text = f"Step {now.index + 1} of {len(steps)} of the rollout: {steps[now.index].weight} % for the newest version."
    return f"{text} {analysis}".rstrip()


def _said(finding: Finding) -> str:
    return f"{finding.verdict}: {finding.text}."
