"""Jobs, trainings and models of a server as requests, and its answers as values: over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from urllib.parse import quote

from pillion.client import management, tasks
from pillion.client.exchange import Request, posted
from pillion.client.values import value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pillion.client.exchange import Answer, GrpcCall
    from pillion.client.following import What
    from pillion.client.management import Deployment

__all__ = ["ENDED", "JobPage", "JobState", "Progress", "RestServices", "Services", "Wanted", "Which", "wanted", "which"]

ENDED: Final = frozenset({"COMPLETED", "CANCELED", "ERRORED"})
JobState = dict[str, Any]
"""A job as the server tells of it: ``state``, ``progress`` (0 to 1, or None), ``reasons``, times."""
Progress: TypeAlias = "Callable[[int, int], object]"
"""Told of an upload: bytes sent so far, and those that there are."""
_SILENT_SECONDS: Final = 60.0
"""Without a word from a server that says every fifteen seconds that it is there."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, the newest first. Iterable.

    Attributes:
        jobs: as they are.
        next: what to give as ``after`` for those that follow; None where there are no more.
    """

    jobs: list[JobState]
    next: int | str | None

    def __iter__(self) -> Iterator[JobState]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are asked for.

    Attributes:
        kind: ``prediction`` or ``training``; empty for both.
        states: empty for all.
        model: that they are of, or make; empty for all.
        task: of them; empty for all.
        limit: at most so many, up to 1000.
        after: ``next`` of the page before.
    """

    kind: str = ""
    states: tuple[str, ...] = ()
    model: str = ""
    task: str = ""
    limit: int = 100
    after: str = ""


@dataclass(frozen=True, slots=True)
class Which:
    """A job.

    Attributes:
        kind: ``prediction`` or ``training``.
        task: of a prediction.
    """

    kind: str
    id: str
    task: str = ""


def which(state: JobState) -> Which:
    """The job that a server tells of."""
    kind: str = state["kind"]
    return Which(kind, state[f"{kind}_id"], state["task"])


def wanted(
    kind: str | None,
    state: str | Sequence[str],
    model: str | None,
    task: str | None,
    limit: int,
    after: int | str | None,
) -> Wanted:
    """Which jobs somebody asks for."""
    states = state.split(",") if isinstance(state, str) else state
    return Wanted(
        kind or "", tuple(filter(None, states)), model or "", task or "", limit, "" if after is None else str(after)
    )


class Services(Protocol):
    """What is said of jobs, trainings and models by one protocol."""

    describes_tasks: bool
    """Whether the server describes its tasks by it."""

    def submit(
        self, task: str, model: str | None, arguments: Mapping[str, object], *, key: str, priority: int | None
    ) -> Request | GrpcCall:
        """Hand a task in as a job; ``key`` makes that the same job however often it is sent."""
        ...

    def train(self, training: str, body: Mapping[str, Any], key: str) -> Request | GrpcCall:
        """Begin a training; the body is that of its route."""
        ...

    def before(self, begun: Request | GrpcCall) -> GrpcCall | None:
        """What has to be asked before that begins a training: whether the server would understand it."""
        ...

    def require(self, answer: Answer) -> None:
        """Look at the answer.

        Raises:
            InvalidInput: it would not.
        """
        ...

    def job(self, which: Which, *, cancel: bool = False) -> Request | GrpcCall:
        """A job as it is, or have it stopped."""
        ...

    def state(self, answer: Answer) -> JobState:
        """What was answered to any of these."""
        ...

    def result(self, which: Which) -> Request | GrpcCall:
        """What a prediction gave."""
        ...

    def value(self, answer: Answer) -> Any:  # noqa: ANN401 - by the task
        """What was answered to that."""
        ...

    def find(self, identity: str) -> tuple[Request | GrpcCall, ...]:
        """A job of whatever kind: one after the other, until one of them is answered."""
        ...

    def jobs(self, wanted: Wanted) -> Request | GrpcCall:
        """Jobs, the newest first."""
        ...

    def page(self, answer: Answer) -> JobPage:
        """What was answered to that."""
        ...

    def written(self, which: Which, what: What) -> Request | GrpcCall:
        """What a training has printed, or logged, so far."""
        ...

    def text(self, answer: Answer) -> str:
        """What was answered to that, of logs."""
        ...

    def numbers(self, answer: Answer) -> list[dict[str, Any]]:
        """What was answered to that, of metrics."""
        ...

    def follow(self, which: Which, what: What, behind: str) -> Request | GrpcCall:
        """The same as a stream of events until the training has ended, behind a place."""
        ...

    def info(self, names: tuple[str, ...]) -> Request | GrpcCall:
        """What the server tells of these models, or of all."""
        ...

    def infos(self, answer: Answer) -> list[dict[str, Any]]:
        """What was answered to that."""
        ...

    def models(self) -> Request | GrpcCall:
        """The models that there are."""
        ...

    def names(self, answer: Answer) -> list[str]:
        """What was answered to that."""
        ...

    def deploy(self, what: Deployment, progress: Progress | None) -> Request | GrpcCall:
        """Deploy a model; ``progress`` is told of what is sent."""
        ...

    def undeploy(self, name: str, *, purge: bool) -> Request | GrpcCall:
        """Take a model out of service."""
        ...

    def reconfigure(self, name: str, config: Mapping[str, object], version: str | None) -> Request | GrpcCall:
        """Give a model that serves another config."""
        ...

    def told(self, answer: Answer) -> dict[str, Any]:
        """What was answered to any of these."""
        ...


class RestServices:
    """Over HTTP."""

    describes_tasks = True

    def submit(
        self, task: str, model: str | None, arguments: Mapping[str, object], *, key: str, priority: int | None
    ) -> Request:
        """See :class:`Services`."""
        return tasks.submission(task, model, arguments, key=key, priority=priority)

    def train(self, training: str, body: Mapping[str, Any], key: str) -> Request:
        """See :class:`Services`."""
        request = posted(f"/api/v1/{quote(training, safe='')}", dict(body), idempotent=True)
        headers = {**request.headers, "idempotency-key": key}
        return Request("POST", request.path, headers=headers, content=request.content, idempotent=True)

    def before(self, begun: Request | GrpcCall) -> None:
        """See :class:`Services`. JSON says all there is."""
        del begun

    def require(self, answer: Answer) -> None:
        """See :class:`Services`."""
        del answer

    def job(self, which: Which, *, cancel: bool = False) -> Request:
        """See :class:`Services`."""
        method = "DELETE" if cancel else "GET"
        if which.kind == "training":
            return Request(method, "/management/trainings", (("training_id", which.id),), idempotent=True)
        return Request(method, _of_task(which), (("prediction_id", which.id),), idempotent=True)

    def state(self, answer: Answer) -> JobState:
        """See :class:`Services`."""
        state: JobState = answer.json()
        return state

    def result(self, which: Which) -> Request:
        """See :class:`Services`."""
        return Request("GET", f"{_of_task(which)}/results", (("prediction_id", which.id),), idempotent=True)

    def value(self, answer: Answer) -> Any:  # noqa: ANN401 - by the task
        """See :class:`Services`."""
        return value_of(answer)

    def find(self, identity: str) -> tuple[Request, ...]:
        """See :class:`Services`."""
        return (Request("GET", "/management/jobs", (("job_id", identity),), idempotent=True),)

    def jobs(self, wanted: Wanted) -> Request:
        """See :class:`Services`."""
        given = (
            ("kind", wanted.kind),
            ("state", ",".join(wanted.states)),
            ("model_id", wanted.model),
            ("task", wanted.task),
            ("limit", str(wanted.limit)),
            ("after", wanted.after),
        )
        return Request("GET", "/management/jobs", tuple(one for one in given if one[1]), idempotent=True)

    def page(self, answer: Answer) -> JobPage:
        """See :class:`Services`."""
        told = answer.json()
        return JobPage(told["jobs"], told["next"])

    def written(self, which: Which, what: What) -> Request:
        """See :class:`Services`."""
        return Request("GET", _of_training(which, what), idempotent=True)

    def text(self, answer: Answer) -> str:
        """See :class:`Services`."""
        return answer.body.decode()

    def numbers(self, answer: Answer) -> list[dict[str, Any]]:
        """See :class:`Services`."""
        numbers: list[dict[str, Any]] = answer.json()["metrics"]
        return numbers

    def follow(self, which: Which, what: What, behind: str) -> Request:
        """See :class:`Services`."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": behind} if behind else {})
        return Request(
            "GET", _of_training(which, what), (("follow", "true"),), headers, idempotent=True, streams=True,
            silence=_SILENT_SECONDS,
        )  # fmt: skip

    def info(self, names: tuple[str, ...]) -> Request:
        """See :class:`Services`."""
        return Request("GET", "/info/models", tuple(("model_ids", name) for name in names), idempotent=True)

    def infos(self, answer: Answer) -> list[dict[str, Any]]:
        """See :class:`Services`."""
        models: list[dict[str, Any]] = answer.json()["models"]
        return models

    def models(self) -> Request:
        """See :class:`Services`."""
        return Request("GET", "/v2/models", idempotent=True)

    def names(self, answer: Answer) -> list[str]:
        """See :class:`Services`."""
        names: list[str] = answer.json()["models"]
        return names

    def deploy(self, what: Deployment, progress: Progress | None) -> Request:
        """See :class:`Services`."""
        return management.deployment(what, progress)

    def undeploy(self, name: str, *, purge: bool) -> Request:
        """See :class:`Services`."""
        return management.undeployment(name, purge=purge)

    def reconfigure(self, name: str, config: Mapping[str, object], version: str | None) -> Request:
        """See :class:`Services`."""
        return management.reconfiguration(name, config, version)

    def told(self, answer: Answer) -> dict[str, Any]:
        """See :class:`Services`."""
        told: dict[str, Any] = answer.json()
        return told


def _of_task(which: Which) -> str:
    return f"/api/v1/task/{quote(which.task.replace('_', '-'), safe='')}/job"


def _of_training(which: Which, what: What) -> str:
    return f"/management/trainings/{quote(which.id, safe='')}/{what}"
