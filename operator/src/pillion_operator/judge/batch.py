"""The status of a BatchPrediction: its state, which ends once, the conditions, and what columns and clients read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.batch_pods import is_predicting, shares_of, whole_of
from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.job import TERMINAL, JobWords, JudgedJob, ended_job, has_ended, log_of, standing_job
from pillion_operator.judge.status import conditions_of
from pillion_operator.state.manifest import generation_of, key_of, number_at, object_at, text_at
from pillion_operator.state.names import BATCH_CONTAINER, batch_job_name
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import BatchPrediction, JsonObject
    from pillion_operator.state.observed import ObservedBatch
    from pillion_operator.state.plan import Problem

__all__ = ["BATCH_STATES", "batch_status"]

BATCH_STATES: Final = ("QUEUED", "RUNNING", "COMPLETED", "ERRORED")
#: Facts of the stored status that stay where nothing newer is known.
_KEPT: Final = ("progress", "shards", "rows", "startTime", "completionTime", "log")
_ROWS: Final = ("read", "written", "failed")


_WORDS: Final = JobWords(
    subject="The batch prediction",
    completed="",  # with the figures, once they are known
    running="The rows are being predicted.",
    coming="Its pods are on their way.",
    late="the rows were not predicted",
    lost=Reason.BATCH_LOST,
    container=BATCH_CONTAINER,
)


def batch_status(
    batch: BatchPrediction, observed: ObservedBatch, problems: tuple[Problem, ...], timestamp: str
) -> JsonObject:
    """Return the status to write.

    Args:
        batch: the BatchPrediction as parsed.
        observed: what there is.
        problems: what stands in the way of the Job, the most telling first.
        timestamp: now.
    """
    stored = observed.batch
    before = object_at(stored, "status")
    facts: JsonObject = {field: before[field] for field in _KEPT if field in before}
    if has_ended(stored):
        judged = JudgedJob(text_at(before, "state"), text_at(before, "reason"), text_at(before, "message"))
    else:
        judged = _judge(batch, observed, problems)
        facts |= _facts(batch, observed, judged, timestamp)
        if judged.state == "COMPLETED":
            if not _is_counted(batch, observed):
                # The words of some pods are lost with them: sums of the others would be wrong for ever.
                facts.pop("rows", None)
                facts.pop("shards", None)
            judged = JudgedJob("COMPLETED", Reason.COMPLETED, _completed(facts, batch.destination))
    verdicts = _verdicts(judged, problems if has_ended(stored) else ())
    return {
        **facts,
        "observedGeneration": generation_of(stored),
        "conditions": conditions_of(stored, verdicts, timestamp),
        "state": judged.state,
        "reason": judged.reason,
        "message": judged.message,
        "output": batch.destination,
        "jobName": batch_job_name(key_of(stored).name),
    }


def _judge(batch: BatchPrediction, observed: ObservedBatch, problems: tuple[Problem, ...]) -> JudgedJob:
    live, pods = observed.job, observed.pods
    ended = ended_job(live, pods, _WORDS)
    if ended is not None:
        return ended
    running = any(map(is_predicting, pods))
    return standing_job(live, pods, problems, batch.spec.queue_name, _WORDS, running=running)


def _completed(facts: JsonObject, output: str) -> str:
    rows = object_at(facts, "rows")
    if not rows:
        return f"The rows are predicted; how many there were, {output}/_SUCCESS says."
    failed = number_at(rows, "failed")
    done = f"{number_at(rows, 'written')} rows have a prediction"
    return f"{done}, and {failed} failed: {output}/_errors says why." if failed else f"{done}, and none failed."


def _is_counted(batch: BatchPrediction, observed: ObservedBatch) -> bool:
    """Whether all rows of what is completed are known: by one pod for all, or by each of them."""
    known = len(shares_of(observed.pods, observed.reports)) >= (batch.spec.parallelism or 1)
    return known or whole_of(observed.pods) is not None


def _facts(batch: BatchPrediction, observed: ObservedBatch, judged: JudgedJob, timestamp: str) -> JsonObject:
    """Return what is known anew; what is not, is left to the stored status."""
    before, live = object_at(observed.batch, "status"), observed.job or {}
    found: JsonObject = {}
    started = text_at(live, "status", "startTime")
    if started and "startTime" not in before:
        found["startTime"] = started
    if observed.pods:
        found["log"] = log_of(live, observed.pods, _WORDS)
    shares = shares_of(observed.pods, observed.reports)
    whole = whole_of(observed.pods) if judged.state == "COMPLETED" else None
    if whole is not None:
        found["shards"] = {"total": whole.total, "done": whole.done, "summary": f"{whole.done}/{whole.total}"}
        found["rows"] = {name: getattr(whole, name) for name in _ROWS}
    elif shares:
        pods, own = batch.spec.parallelism or 1, shares.values()
        total = max(share.total for share in own)
        done = sum(share.done for share in own)
        rows = {name: sum(getattr(share, name) for share in own) for name in _ROWS}
        if len(shares) < pods:
            # Of some pods nothing is known now, and what they have done is not undone.
            done = max(done, number_at(before, "shards", "done"))
            rows = {name: max(number, number_at(before, "rows", name)) for name, number in rows.items()}
        found["shards"] = {"total": total, "done": done, "summary": f"{done}/{total}"}
        found["rows"] = dict(rows)
        found["progress"] = min(100, 100 * done // total) if total else 0
    if judged.state in TERMINAL:
        found["completionTime"] = text_at(live, "status", "completionTime") or timestamp
    if judged.state == "COMPLETED":
        found["progress"] = 100
    return found


def _verdicts(judged: JudgedJob, after_end: tuple[Problem, ...]) -> tuple[Verdict, ...]:
    def verdict(kind: str, holds: bool, reason: str = "", message: str = "") -> Verdict:  # noqa: FBT001 - one word
        return Verdict(kind, "True" if holds else "False", reason or judged.reason, message or judged.message)

    completed, ended = judged.state == "COMPLETED", judged.state in TERMINAL
    changed = next((problem for problem in after_end if problem.reason == Reason.IMMUTABLE), None)
    stalled = judged.state == "ERRORED" or judged.lasting or changed is not None
    return (
        verdict("Ready", completed),
        verdict("Complete", completed),
        verdict("Failed", judged.state == "ERRORED"),
        verdict("Suspended", not ended and judged.reason == Reason.SUSPENDED),
        verdict("Stalled", True, changed.reason if changed else "", changed.sentence if changed else "")
        if stalled
        else verdict("Stalled", False, Reason.SETTLED, "Nothing needs anybody's help."),
        verdict("Reconciling", not completed and not stalled),
    )
