"""The status of a TrainingJob: its state, which ends once, the conditions, and what columns and clients read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pillion_operator.judge.deployed import deployed
from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.job import (
    TERMINAL,
    JobWords,
    JudgedJob,
    ended_job,
    has_ended,
    log_of,
    said,
    standing_job,
)
from pillion_operator.judge.status import conditions_of
from pillion_operator.judge.training_pods import is_training, result_of
from pillion_operator.state.manifest import (
    count_at,
    finite,
    generation_of,
    key_of,
    number_at,
    object_at,
    seconds_at,
    text_at,
)
from pillion_operator.state.names import TRAINING_CONTAINER, training_job_name
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion.resources import JsonObject, TrainingJob
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.observed import ObservedTraining
    from pillion_operator.state.plan import Problem

__all__ = ["STATES", "duration_of", "state_of", "training_status"]

STATES: Final = ("QUEUED", "RUNNING", *TERMINAL)
#: Facts of the stored status that stay where nothing newer is known.
_KEPT: Final = ("progress", "metrics", "checkpoint", "artifact", "attempts", "startTime", "completionTime", "log")
#: Reasons of a deployment that somebody has to do something about.
_BLOCKED: Final = frozenset({Reason.NOT_FOLLOWED, Reason.ROLLED_BACK, Reason.INFERENCE_SERVICE_NOT_FOUND})


_WORDS: Final = JobWords(
    subject="The training",
    completed="The training has completed.",
    running="The training runs.",
    coming="A pod is on its way.",
    late="the training was not done",
    lost=Reason.TRAINING_LOST,
    container=TRAINING_CONTAINER,
)


def state_of(training: Manifest) -> str:
    """Return its state; one that nobody has looked at yet is QUEUED."""
    return text_at(training, "status", "state") or "QUEUED"


def duration_of(status: JsonObject) -> float | None:
    """Return the seconds from a training's start to its end; None where it never began, or has not ended."""
    started, ended = seconds_at(status, "startTime"), seconds_at(status, "completionTime")
    return max(0.0, ended - started) if started and ended else None


def training_status(
    job: TrainingJob, observed: ObservedTraining, problems: tuple[Problem, ...], timestamp: str
) -> JsonObject:
    """Return the status to write.

    Args:
        job: the TrainingJob as parsed.
        observed: what there is.
        problems: what stands in the way of the Job, the most telling first.
        timestamp: now.
    """
    stored = observed.training
    before = object_at(stored, "status")
    facts: JsonObject = {field: before[field] for field in _KEPT if field in before}
    if has_ended(stored):
        judged = JudgedJob(text_at(before, "state"), text_at(before, "reason"), text_at(before, "message"))
    else:
        judged = _judge(job, observed, problems)
        facts |= _facts(job, observed, judged, timestamp)
        if judged.state == "COMPLETED" and job.spec.output and "artifact" not in facts:
            text = "the training completed, and its pod was gone before its result was read"
            judged = JudgedJob("COMPLETED", Reason.RESULT_LOST, sentence(text, Reason.RESULT_LOST))
    rollout = None
    if job.spec.deploy is not None and judged.state == "COMPLETED":
        rollout = deployed(job, observed, has_artifact="artifact" in facts)
    verdicts = _verdicts(judged, rollout, problems if has_ended(stored) else ())
    return {
        **facts,
        "observedGeneration": generation_of(stored),
        "conditions": conditions_of(stored, verdicts, timestamp),
        "state": judged.state,
        "reason": judged.reason,
        "message": judged.message,
        "jobName": training_job_name(key_of(stored).name),
    }


def _judge(job: TrainingJob, observed: ObservedTraining, problems: tuple[Problem, ...]) -> JudgedJob:
    live, pods = observed.job, observed.pods
    ended = ended_job(live, pods, _WORDS)
    if ended is not None:
        return ended
    if job.spec.cancel:
        return JudgedJob("CANCELED", Reason.CANCELED, "The training was cancelled by spec.cancel.", lasting=True)
    running = live is not None and any(is_training(pod) for pod in pods)
    judged = standing_job(live, pods, problems, job.spec.queue_name, _WORDS, running=running)
    warning = observed.report.warning if observed.report else ""
    if warning and judged.reason == Reason.RUNNING:
        return replace(judged, message=said(sentence(warning, "")))
    return judged


def _facts(job: TrainingJob, observed: ObservedTraining, judged: JudgedJob, timestamp: str) -> JsonObject:
    """Return what is known anew; what is not, is left to the stored status."""
    before = object_at(observed.training, "status")
    live = observed.job or {}
    found: JsonObject = {}
    started = text_at(live, "status", "startTime")
    if started and "startTime" not in before:
        found["startTime"] = started
    pods = sum(number_at(live, "status", field) for field in ("active", "succeeded", "failed"))
    found["attempts"] = max(pods, number_at(before, "attempts"))
    if observed.pods:
        found["log"] = log_of(live, observed.pods, _WORDS)
    report = observed.report
    if report is not None:
        if report.progress is not None:
            found["progress"] = int(report.progress * 100)
        if report.metrics:
            found["metrics"] = dict(report.metrics)
        if report.checkpoint is not None:
            found["checkpoint"] = report.checkpoint
    if judged.state in TERMINAL:
        found["completionTime"] = text_at(live, "status", "completionTime") or timestamp
    if judged.state == "COMPLETED":
        found["progress"] = 100
        told = result_of(observed.pods, job.spec.output.uri if job.spec.output else "")
        told_numbers = {name: finite(value) for name, value in object_at(told, "metrics").items()}
        numbers = {name: value for name, value in told_numbers.items() if value is not None}
        if numbers:
            found["metrics"] = dict(numbers)
        if told:
            found["artifact"] = _artifact(object_at(told, "artifact"))
    return found


def _artifact(told: JsonObject) -> JsonObject:
    texts = {field: text_at(told, field) for field in ("uri", "digest", "dataDigest", "codeDigest")}
    artifact: JsonObject = {field: text for field, text in texts.items() if text}
    size = count_at(told, "bytes")
    return artifact | ({"bytes": size} if size else {})


def _verdicts(judged: JudgedJob, rollout: Verdict | None, after_end: tuple[Problem, ...]) -> tuple[Verdict, ...]:
    def verdict(kind: str, holds: bool, reason: str = "", message: str = "") -> Verdict:  # noqa: FBT001 - one word
        return Verdict(kind, "True" if holds else "False", reason or judged.reason, message or judged.message)

    completed, ended = judged.state == "COMPLETED", judged.state in TERMINAL
    waits = rollout is not None and rollout.status != "True" and rollout.reason != Reason.SUPERSEDED
    blocked = rollout is not None and rollout.reason in _BLOCKED
    ready = completed and not waits
    suspended = not ended and judged.reason == Reason.SUSPENDED
    found = [
        verdict("Ready", ready, rollout.reason, rollout.message) if waits and rollout else verdict("Ready", ready),
        verdict("Complete", completed),
        verdict("Failed", judged.state == "ERRORED"),
        verdict("Suspended", suspended),
    ]
    if rollout is not None:
        found.append(rollout)
    changed = next(iter(after_end), None)
    stalled = judged.state in ("CANCELED", "ERRORED") or judged.lasting or blocked or changed is not None
    if stalled:
        reason = changed.reason if changed else rollout.reason if blocked and rollout else judged.reason
        message = changed.sentence if changed else rollout.message if blocked and rollout else judged.message
        found.append(verdict("Stalled", True, reason, message))
    else:
        found.append(verdict("Stalled", False, Reason.SETTLED, "Nothing needs anybody's help."))
    moving = not ready and not stalled
    found.append(
        verdict("Reconciling", True, rollout.reason, rollout.message)
        if moving and waits and rollout
        else verdict("Reconciling", moving)
    )
    return tuple(found)
