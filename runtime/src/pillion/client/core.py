"""The operations of a client: what both façades do, written once."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pillion.client import tasks
from pillion.client.description import TaskSpec, TrainingSpec, checked, tasks_of, trainings_of
from pillion.client.errors import LOST, CallError, ConnectionLost, DeadlineExceeded, NeverSent, NotFound, Unavailable
from pillion.client.exchange import Request, Sleep, exchange, posted
from pillion.client.inference import GRPC, REST, Infer, predict
from pillion.client.services import ENDED, JobPage, JobState, RestServices, Wanted, Which
from pillion.client.values import file_of, jsonable, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.client.address import Address
    from pillion.client.exchange import Answer, Operation
    from pillion.client.following import What
    from pillion.client.inference import Outputs, Wire
    from pillion.client.management import Deployment
    from pillion.client.services import Progress, Services

__all__ = ["Core", "JobState"]

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods of which HTTP says that doing it twice is doing it once: RFC 9110, section 9.2.2."""
_FIRST_LOOK: Final = 0.05
_LONGEST_LOOK: Final = 2.0


class Core:
    """Operations on one server."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.wire: Wire = GRPC() if address.grpc else REST()
        self.services: Services = RestServices()
        if address.grpc:
            from pillion.client.grpc_services import GrpcServices  # noqa: PLC0415 - protobuf only where it is spoken

            self.services = GrpcServices()
        self._tasks: dict[str, TaskSpec] | None = None

    def ask(self, request: Any, timeout: float | None = None) -> Operation[Answer]:  # noqa: ANN401 - of either transport
        """Send a request by the client's policy, within ``timeout`` seconds (None: the client's)."""
        return exchange(request, self.address.retries, self.address.timeout if timeout is None else timeout)

    def ready(self) -> Operation[bool]:
        """Whether the server is there and all that it has is loaded."""
        try:
            answer = yield from self.ask(self.wire.ready())
        except (NeverSent, ConnectionLost, Unavailable, DeadlineExceeded):
            return False
        return self.wire.is_ready(answer)

    def wait_ready(self, timeout: float) -> Operation[None]:
        """Wait until it is.

        Raises:
            DeadlineExceeded: it was not within ``timeout`` seconds; says what the last look found.
        """
        ends = time.monotonic() + timeout
        pause, found = _FIRST_LOOK, "it is loading"
        while True:
            left = ends - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(504, f"{self.address.url} was not ready within {timeout:g} s: {found}")
            try:
                answer = yield from self.ask(self.wire.ready(), min(left, self.address.timeout))
                if self.wire.is_ready(answer):
                    return
            except (NeverSent, ConnectionLost, Unavailable, DeadlineExceeded) as failure:
                found = str(failure)
            yield Sleep(min(pause, max(0.0, ends - time.monotonic())))
            pause = min(2 * pause, 1.0)

    def models(self) -> Operation[list[str]]:
        """Names of the models."""
        return self.services.names((yield from self.ask(self.services.models())))

    def only_model(self) -> Operation[str]:
        """The name of the one model.

        Raises:
            ValueError: there are several, or none.
        """
        names = yield from self.models()
        if len(names) != 1:
            raise ValueError(f"the server has the models {', '.join(names) or 'none'}: name one, model=...")
        return names[0]

    def metadata(self, model: str, version: str | None) -> Operation[dict[str, Any]]:
        """What a model takes and gives."""
        answer = yield from self.ask(self.wire.metadata(model, version))
        return self.wire.described(answer)

    def infer(self, call: Infer, timeout: float | None) -> Operation[Outputs]:
        """Outputs by name."""
        answer = yield from self.ask(self.wire.infer(call), timeout)
        return self.wire.outputs(answer)

    def predict(
        self,
        told: dict[str, Any],
        model: str,
        version: str | None,
        data: object,
        outputs: Sequence[str],
        timeout: float | None,
    ) -> Operation[Any]:
        """Outputs by name; of a model that declares no inputs, what its V1 route says, under ``predictions``."""

        def ask(inputs: dict[str, Any]) -> Operation[Outputs]:
            return self.infer(Infer(model, version, inputs, outputs), timeout)

        if not told:
            told.update((yield from self.metadata(model, version)))
        if not told["inputs"] and not self.address.grpc and version is None and not outputs:
            import numpy as np  # noqa: PLC0415 - only where arrays are

            return {"predictions": np.asarray((yield from self.predict_rows(model, data, timeout)))}
        found = yield from predict(told, data, ask, lambda: self.metadata(model, version))
        return found

    def predict_rows(self, model: str | None, rows: object, timeout: float | None) -> Operation[Any]:
        """Predictions as JSON has them, by the V1 protocol."""
        name = model or (yield from self.only_model())
        request = posted(f"/v1/models/{quote(name, safe='')}:predict", {"instances": jsonable(rows)}, idempotent=True)
        answer = yield from self.ask(request, timeout)
        return answer.json()["predictions"]

    def described(self, task: str, arguments: Mapping[str, object]) -> Operation[TaskSpec | None]:
        """A task by the server's description, its arguments' names checked; None where it does not describe it.

        The description is asked for once, and again where it does not fit: the server may have another model by then.

        Raises:
            InvalidInput: a name that the task does not have, or one that is missing.
        """
        if not self.services.describes_tasks:
            return None
        name = task.replace("-", "_")
        if self._tasks is not None and name in self._tasks:
            with contextlib.suppress(CallError):
                checked(self._tasks[name], arguments)
                return self._tasks[name]
        self._tasks = yield from self.tasks()
        spec = self._tasks.get(name)
        if spec is not None:
            checked(spec, arguments)
        return spec

    def tasks(self) -> Operation[dict[str, TaskSpec]]:
        """All of them, as the server describes them now; none where it does not describe itself."""
        document = yield from self.document()
        return {} if document is None else tasks_of(document)

    def trainings(self) -> Operation[dict[str, TrainingSpec]]:
        """The trainings by name.

        Raises:
            CallError: as where a key is missing.
        """
        try:
            answer = yield from self.ask(Request("GET", "/openapi.json", idempotent=True))
        except NotFound:
            return {}
        return trainings_of(answer.json())

    def document(self) -> Operation[dict[str, Any] | None]:
        """The server's OpenAPI document."""
        try:
            answer = yield from self.ask(Request("GET", "/openapi.json", idempotent=True))
        except CallError as error:
            if error.status in {401, 403, 404}:
                return None
            raise
        document: dict[str, Any] = answer.json()
        return document

    def request(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
        *,
        idempotent: bool | None,
        timeout: float | None,
    ) -> Operation[Any]:
        """A request of any route; what it answered."""
        if not path.startswith("/"):
            raise ValueError(f"path: {path!r} is none: write it from the server's root, /{path}")
        sure = method.upper() in _READING if idempotent is None else idempotent
        sent = Request("GET", path) if body is None else posted(path, body)
        asked = tuple((name, str(value)) for name, value in (query or {}).items())
        told = {**sent.headers, **{name.lower(): value for name, value in (headers or {}).items()}}
        request = Request(method.upper(), path, asked, told, sent.content, idempotent=sure)
        answer = yield from self.ask(request, timeout)
        return value_of(answer) if answer.body else None

    def call(
        self,
        task: str,
        model: str | None,
        arguments: Mapping[str, object],
        *,
        check: bool,
        idempotent: bool,
        timeout: float | None,
    ) -> Operation[Any]:
        """The result of a task.

        Raises:
            TypeError: it streams.
        """
        if check:
            spec = yield from self.described(task, arguments)
            if spec is not None and spec.streams:
                raise TypeError(f"task {task!r} streams: go through client.task({task!r}).stream(...)")
        answer = yield from self.ask(tasks.call(task, model, arguments, idempotent=idempotent), timeout)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise TypeError(f"task {task!r} streams: go through client.task({task!r}).stream(...)")
        return value_of(answer)

    def begin_stream(
        self, task: str, model: str | None, arguments: Mapping[str, object], *, timeout: float | None
    ) -> Operation[Answer]:
        """The begin of a task's stream."""
        yield from self.described(task, arguments)
        return (yield from self.ask(tasks.call(task, model, arguments, streams=True), timeout))

    def submit(
        self, task: str, model: str | None, arguments: Mapping[str, object], key: str | None, priority: int | None
    ) -> Operation[JobState]:
        """Hand a task in as a job."""
        yield from self.described(task, arguments)
        key = key or uuid.uuid4().hex
        request = self.services.submit(task, model, arguments, key=key, priority=priority)
        return self.services.state((yield from self.ask(request)))

    def train(self, training: str, body: Mapping[str, object], key: str | None) -> Operation[JobState]:
        """Begin a training.

        Raises:
            InvalidInput: a whole number that the server would lose; nothing was begun.
        """
        request = self.services.train(training, body, key or uuid.uuid4().hex)
        before = self.services.before(request)
        if before is not None:
            self.services.require((yield from self.ask(before)))
        return self.services.state((yield from self.ask(request)))

    def job(self, which: Which, *, cancel: bool = False) -> Operation[JobState]:
        """A job as it is, or have it stopped."""
        return self.services.state((yield from self.ask(self.services.job(which, cancel=cancel))))

    def find(self, identity: str) -> Operation[JobState]:
        """A job of whatever kind.

        Raises:
            NotFound: there is none with this id.
        """
        first, *others = self.services.find(identity)
        try:
            return self.services.state((yield from self.ask(first)))
        except NotFound:
            if not others:
                raise
        return self.services.state((yield from self.ask(others[0])))

    def jobs(self, wanted: Wanted) -> Operation[JobPage]:
        """Jobs, the newest first."""
        return self.services.page((yield from self.ask(self.services.jobs(wanted))))

    def wait(
        self, which: Which, progress: Callable[[JobState], object] | None, timeout: float | None, patience: float
    ) -> Operation[JobState]:
        """Look at a job until it has ended, also while the server is away, as at a restart.

        Raises:
            DeadlineExceeded: it had not ended within ``timeout`` seconds; it goes on.
            ClientError: no look was answered for ``patience`` seconds; it may go on.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        pause, last, heard = _FIRST_LOOK, None, time.monotonic()
        while True:
            state: JobState = {}
            # A look that is not answered, as by a server that hangs, says nothing of the job.
            try:
                answer = yield from self.ask(self.services.job(which), _within(self.address.timeout, ends))
                state, heard = self.services.state(answer), time.monotonic()
            except LOST as failure:
                if time.monotonic() - heard >= patience:
                    failure.add_note(f"{which.id} may go on: nothing was heard of it for {patience:g} s (patience=)")
                    raise
            shown = state.get("state"), state.get("progress")
            if state and shown != last:
                last, pause = shown, _FIRST_LOOK
                if progress is not None:
                    progress(state)
                    heard = time.monotonic()  # the time that it took is not the server's
            if state.get("state") in ENDED:
                return state
            if ends is not None and time.monotonic() >= ends:
                raise DeadlineExceeded(504, f"{which.id} had not ended within {timeout:g} s; it goes on")
            yield Sleep(_within(pause, ends))
            pause = min(1.5 * pause, _LONGEST_LOOK)

    def result(self, which: Which) -> Operation[Any]:
        """Of a job that has ended: what the direct call would have given."""
        value = self.services.value((yield from self.ask(self.services.result(which))))
        spec = (self._tasks or {}).get(which.task.replace("-", "_"))
        # Of the results of jobs the server keeps files as JSON does.
        return file_of(value) if spec is not None and spec.result is None else value

    def info(self, *names: str) -> Operation[list[dict[str, Any]]]:
        """What the server tells of its models."""
        return self.services.infos((yield from self.ask(self.services.info(names))))

    def written(self, which: Which, what: What) -> Operation[Answer]:
        """What a training has printed, or logged, so far.

        Raises:
            ValueError: of a prediction.
        """
        _require_training(which, what)
        return (yield from self.ask(self.services.written(which, what)))

    def follow(self, which: Which, what: What, behind: str) -> Operation[Answer]:
        """The begin of the same as a stream, behind a place.

        Raises:
            ValueError: of a prediction.
        """
        _require_training(which, what)
        return (yield from self.ask(self.services.follow(which, what, behind)))

    def deploy(self, what: Deployment, timeout: float, progress: Progress | None = None) -> Operation[dict[str, Any]]:
        """Deploy a model; what the server tells of it once it serves."""
        return self.services.told((yield from self.ask(self.services.deploy(what, progress), timeout)))

    def reconfigure(
        self, name: str, config: Mapping[str, object], version: str | None, timeout: float
    ) -> Operation[dict[str, Any]]:
        """Give a model that serves another config."""
        return self.services.told((yield from self.ask(self.services.reconfigure(name, config, version), timeout)))

    def undeploy(self, name: str, timeout: float, *, purge: bool) -> Operation[None]:
        """Take a model out of service."""
        yield from self.ask(self.services.undeploy(name, purge=purge), timeout)


def _within(seconds: float, ends: float | None) -> float:
    """So many seconds, or fewer where the end comes before."""
    return seconds if ends is None else min(seconds, max(0.001, ends - time.monotonic()))


def _require_training(which: Which, what: What) -> None:
    if which.kind != "training":
        own = "log of its own: what its code prints is in the server's" if what == "logs" else "metrics: wait for it"
        raise ValueError(f"a prediction has no {own}")
