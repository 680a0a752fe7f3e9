"""The status of a TrainingJob: its state, which ends once, the conditions, and what columns and clients read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.judge.deployed import deployed
from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.status import conditions_of
from pillion_operator.judge.training_pods import ended_problem, is_training, log_command, result_of, waiting_problem
from pillion_operator.state.manifest import (
    condition_of,
    generation_of,
    key_of,
    number_at,
    object_at,
    text_at,
)
from pillion_operator.state.names import training_job_name
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion.resources import JsonObject, TrainingJob
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.observed import ObservedTraining

__all__ = ["TERMINAL", "has_ended", "training_status"]

TERMINAL: Final = ("COMPLETED", "CANCELED", "ERRORED")
#: Facts of the stored status that stay where nothing newer is known.
_KEPT: Final = ("progress", "metrics", "checkpoint", "artifact", "attempts", "startTime", "completionTime", "log")
_MESSAGE: Final = 2000
#: Reasons of a deployment that somebody has to do something about.
_BLOCKED: Final = frozenset({Reason.NOT_FOLLOWED, Reason.CANARY_NOT_AVAILABLE, Reason.INFERENCE_SERVICE_NOT_FOUND})


@dataclass(frozen=True, slots=True)
class _Judged:
    """The state, and why."""

    state: str
    reason: str
    message: str
    lasting: bool = False
    """Whether somebody has to act before anything gets better."""


def has_ended(training: Manifest) -> bool:
    """Whether the status says how the training ended, which never changes again."""
    return text_at(training, "status", "state") in TERMINAL


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
        judged = _Judged(text_at(before, "state"), text_at(before, "reason"), text_at(before, "message"))
    else:
        judged = _judge(job, observed, problems)
        facts |= _facts(job, observed, judged, timestamp)
        if judged.state == "COMPLETED" and job.spec.output and "artifact" not in facts:
            text = "the training completed, and its pod was gone before its result was read"
            judged = _Judged("COMPLETED", Reason.RESULT_LOST, sentence(text, Reason.RESULT_LOST))
    rollout = None
    if job.spec.deploy is not None and judged.state == "COMPLETED":
        rollout = deployed(job, observed, has_artifact="artifact" in facts)
    verdicts = _verdicts(job, judged, rollout, problems if has_ended(stored) else ())
    return {
        **facts,
        "observedGeneration": generation_of(stored),
        "conditions": conditions_of(stored, verdicts, timestamp),
        "state": judged.state,
        "reason": judged.reason,
        "message": judged.message,
        "jobName": training_job_name(key_of(stored).name),
    }


def _judge(job: TrainingJob, observed: ObservedTraining, problems: tuple[Problem, ...]) -> _Judged:
    live = observed.job
    if live is not None:
        if condition_of(live, "Complete").get("status") == "True":
            return _Judged("COMPLETED", Reason.COMPLETED, "The training has completed.")
        failed = condition_of(live, "Failed")
        if failed.get("status") == "True":
            return _errored(observed, failed)
    if job.spec.cancel:
        return _Judged("CANCELED", Reason.CANCELED, "The training was cancelled by spec.cancel.", lasting=True)
    running = live is not None and any(is_training(pod) for pod in observed.pods)
    state = "RUNNING" if running else "QUEUED"
    if problems:
        return _Judged(state, problems[0].reason, _said(problems[0]), lasting=not problems[0].transient)
    if live is None:
        return _Judged(state, Reason.STARTING, "The Job is being made.")
    if object_at(live, "spec").get("suspend") is True:
        by = "Kueue has not let it begin yet" if job.spec.queue_name else "spec.suspend is true"
        return _Judged("QUEUED", Reason.SUSPENDED, f"The training rests: {by}.")
    if running:
        warning = observed.report.warning if observed.report else ""
        return _Judged(state, Reason.RUNNING, sentence(warning, "")[:_MESSAGE] if warning else "The training runs.")
    problem = waiting_problem(observed.pods) or ended_problem(observed.pods)
    if problem is not None:
        return _Judged(state, problem.reason, _said(problem))
    return _Judged(state, Reason.QUEUED, "A pod is on its way.")


def _errored(observed: ObservedTraining, failed: JsonObject) -> _Judged:
    if text_at(failed, "reason") == "DeadlineExceeded":
        text = "the training was not done within activeDeadlineSeconds"
        return _Judged("ERRORED", Reason.DEADLINE_EXCEEDED, sentence(text, Reason.DEADLINE_EXCEEDED), lasting=True)
    problem = ended_problem(observed.pods)
    if problem is None:
        said = text_at(failed, "message") or text_at(failed, "reason")
        problem = Problem(Reason.TRAINING_LOST, f"the Job failed: {said}")
    given_up = text_at(failed, "reason") == "BackoffLimitExceeded"
    text = f"{problem.text}; as many pods were lost as backoffLimit allows" if given_up else problem.text
    where = log_command(
        text_at(observed.job or {}, "metadata", "name"), key_of(observed.training).namespace, observed.pods
    )
    said = sentence(text, problem.reason, problem.remedy)[: _MESSAGE - 300]
    return _Judged("ERRORED", problem.reason, f"{said} The whole log: {where}", lasting=True)


def _log_of(observed: ObservedTraining) -> str:
    key = key_of(observed.training)
    return log_command(training_job_name(key.name), key.namespace, observed.pods)


def _said(problem: Problem) -> str:
    return problem.sentence[:_MESSAGE]


def _facts(job: TrainingJob, observed: ObservedTraining, judged: _Judged, timestamp: str) -> JsonObject:
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
        found["log"] = log_command(
            text_at(live, "metadata", "name"), key_of(observed.training).namespace, observed.pods
        )
    report = observed.report
    if report is not None:
        if report.progress is not None:
            found["progress"] = min(100, max(0, int(report.progress * 100)))
        if report.metrics:
            found["metrics"] = dict(report.metrics)
        if report.checkpoint is not None:
            found["checkpoint"] = report.checkpoint
    if judged.state in TERMINAL:
        found["completionTime"] = text_at(live, "status", "completionTime") or timestamp
    if judged.state == "COMPLETED":
        found["progress"] = 100
        told = result_of(observed.pods, job.spec.output.uri if job.spec.output else "")
        numbers = {k: v for k, v in object_at(told, "metrics").items() if isinstance(v, int | float)}
        if numbers:
            found["metrics"] = dict(numbers)
        if told:
            found["artifact"] = _artifact(object_at(told, "artifact"))
    return found


def _artifact(told: JsonObject) -> JsonObject:
    texts = {field: text_at(told, field) for field in ("uri", "digest", "dataDigest", "codeDigest")}
    artifact: JsonObject = {field: text for field, text in texts.items() if text}
    return artifact | ({"bytes": number_at(told, "bytes")} if number_at(told, "bytes") else {})


def _verdicts(
    job: TrainingJob, judged: _Judged, rollout: Verdict | None, after_end: tuple[Problem, ...]
) -> tuple[Verdict, ...]:
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
    if job.spec.deploy is not None and job.spec.deploy.canary_traffic_percent not in (None, 100):
        unused = "spec.deploy.canaryTrafficPercent has no effect in this version, and nothing is deployed with it"
        said = sentence(unused, Reason.CANARY_NOT_AVAILABLE)
        found.append(verdict("FieldsHonoured", False, Reason.FIELDS_NOT_HONOURED, said))
    else:
        found.append(verdict("FieldsHonoured", True, Reason.HONOURED, "Every field has its effect."))
    changed = next((p for p in after_end if p.reason == Reason.IMMUTABLE), None)
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
