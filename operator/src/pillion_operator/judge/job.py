"""The state of a Kubernetes Job that stands for a training or a batch prediction, as far as both say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.judge.training_pods import ended_problem, log_command, waiting_problem
from pillion_operator.state.manifest import condition_of, key_of, object_at, text_at
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.state.manifest import Manifest

__all__ = ["TERMINAL", "JobWords", "JudgedJob", "ended_job", "has_ended", "is_over", "log_of", "said", "standing_job"]

#: States that never change again.
TERMINAL: Final = ("COMPLETED", "CANCELED", "ERRORED")
_MESSAGE: Final = 2000
#: Room that is left for where the log is.
_LOG: Final = 300


@dataclass(frozen=True, slots=True)
class JobWords:
    """What is said of a kind.

    Attributes:
        subject: what rests, as `The training`.
        completed, running, coming: sentences about those states, the last while no pod is there.
        late: what was not reached within activeDeadlineSeconds.
        lost: the reason where nothing better is known of a failure.
        container: whose log tells how it ended.
    """

    subject: str
    completed: str
    running: str
    coming: str
    late: str
    lost: Reason
    container: str


@dataclass(frozen=True, slots=True)
class JudgedJob:
    """The state, and why."""

    state: str
    reason: str
    message: str
    lasting: bool = False
    """Whether somebody has to act before anything gets better."""


def has_ended(owner: Manifest) -> bool:
    """Whether the status of the training or batch prediction says how it ended, which never changes again."""
    return text_at(owner, "status", "state") in TERMINAL


def is_over(job: Manifest) -> bool:
    """Whether the Job itself says that it has ended."""
    return any(condition_of(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))


def ended_job(live: Manifest | None, pods: tuple[Manifest, ...], words: JobWords) -> JudgedJob | None:
    """Return how the Job ended, None where it has not."""
    if live is None:
        return None
    if condition_of(live, "Complete").get("status") == "True":
        return JudgedJob("COMPLETED", Reason.COMPLETED, words.completed)
    failed = condition_of(live, "Failed")
    return _errored(live, pods, failed, words) if failed.get("status") == "True" else None


def standing_job(
    live: Manifest | None,
    pods: tuple[Manifest, ...],
    problems: tuple[Problem, ...],
    queue: str | None,
    words: JobWords,
    *,
    running: bool,
) -> JudgedJob:
    """Return how a Job that has not ended stands; `problems` are in its way, the most telling first."""
    state = "RUNNING" if running else "QUEUED"
    if problems:
        return JudgedJob(state, problems[0].reason, said(problems[0].sentence), lasting=not problems[0].transient)
    if live is None:
        return JudgedJob(state, Reason.STARTING, "The Job is being made.")
    if object_at(live, "spec").get("suspend") is True:
        by = "Kueue has not let it begin yet" if queue else "spec.suspend is true"
        return JudgedJob("QUEUED", Reason.SUSPENDED, f"{words.subject} rests: {by}.")
    if running:
        return JudgedJob(state, Reason.RUNNING, words.running)
    problem = waiting_problem(pods) or ended_problem(pods)
    if problem is not None:
        return JudgedJob(state, problem.reason, said(problem.sentence))
    return JudgedJob(state, Reason.QUEUED, words.coming)


def log_of(live: Manifest, pods: tuple[Manifest, ...], words: JobWords) -> str:
    """Return the command that shows the log."""
    key = key_of(live)
    return log_command(key.name, key.namespace, pods, words.container)


def said(text: str) -> str:
    """Return a message that is not too long for a status."""
    return text[:_MESSAGE]


def _errored(live: Manifest, pods: tuple[Manifest, ...], failed: JsonObject, words: JobWords) -> JudgedJob:
    if text_at(failed, "reason") == "DeadlineExceeded":
        text = f"{words.late} within activeDeadlineSeconds"
        return JudgedJob("ERRORED", Reason.DEADLINE_EXCEEDED, sentence(text, Reason.DEADLINE_EXCEEDED), lasting=True)
    problem = ended_problem(pods)
    if problem is None:
        why = text_at(failed, "message") or text_at(failed, "reason")
        problem = Problem(words.lost, f"the Job failed: {why}")
    given_up = text_at(failed, "reason") == "BackoffLimitExceeded"
    text = f"{problem.text}; as many pods were lost as backoffLimit allows" if given_up else problem.text
    told = sentence(text, problem.reason, problem.remedy)[: _MESSAGE - _LOG]
    return JudgedJob("ERRORED", problem.reason, f"{told} The whole log: {log_of(live, pods, words)}", lasting=True)
