"""Jobs, trainings and models of a server as requests, and its answers as values: over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from pillion.client import management, tasks
from pillion.client.exchange import Request, posted
from pillion.client.values import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.client.exchange import Answer, GrpcCall
    from pillion.client.management import Deployment

__all__ = ["JobState", "RestServices", "Services", "Which"]

JobState = dict[str, Any]
"""A job as the server tells of it: ``state``, ``progress`` (0 to 1, or None), ``reasons``, times."""


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

    def logs(self, which: Which, *, follow: bool) -> Request | GrpcCall:
        """What a training has printed."""
        ...

    def text(self, answer: Answer) -> str:
        """What was answered to that, without ``follow``."""
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

    def deploy(self, what: Deployment) -> Request | GrpcCall:
        """Deploy a model."""
        ...

    def undeploy(self, name: str, *, purge: bool) -> Request | GrpcCall:
        """Take a model out of service."""
        ...

    def told(self, answer: Answer) -> dict[str, Any]:
        """What was answered to either."""
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

    def logs(self, which: Which, *, follow: bool) -> Request:
        """See :class:`Services`."""
        query = (("follow", "true"),) if follow else ()
        path = f"/management/trainings/{quote(which.id, safe='')}/logs"
        return Request("GET", path, query, idempotent=True, streams=follow)

    def text(self, answer: Answer) -> str:
        """See :class:`Services`."""
        return answer.body.decode()

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

    def deploy(self, what: Deployment) -> Request:
        """See :class:`Services`."""
        return management.deployment(what)

    def undeploy(self, name: str, *, purge: bool) -> Request:
        """See :class:`Services`."""
        return management.undeployment(name, purge=purge)

    def told(self, answer: Answer) -> dict[str, Any]:
        """See :class:`Services`."""
        told: dict[str, Any] = answer.json()
        return told


def _of_task(which: Which) -> str:
    return f"/api/v1/task/{quote(which.task.replace('_', '-'), safe='')}/job"
