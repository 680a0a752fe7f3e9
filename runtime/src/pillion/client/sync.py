"""The client for programs that wait: any thread, scripts, notebooks."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pillion.client.address import address
from pillion.client.core import Core
from pillion.client.exchange import Send
from pillion.client.handles import Job, ModelHandle, TaskHandle
from pillion.client.http import HTTP
from pillion.client.management import Deployment
from pillion.client.ordering import ordered
from pillion.client.services import JobPage, Which, wanted, which

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from pillion.client.description import TaskSpec, TrainingSpec
    from pillion.client.events import Event
    from pillion.client.exchange import Answer, Effect, Operation
    from pillion.client.retries import Retries
    from pillion.client.services import Progress
    from pillion.client.tls import TLS

__all__ = ["SECONDS", "Client"]

SECONDS: Final = 60.0


class Client:
    """A connection to one server. A context manager; from any thread.

    Args:
        url: ``http(s)://HOST:PORT``, ``grpc(s)://HOST:PORT`` or ``unix:///PATH`` (HTTP over a socket); by default that
            of the environment, ``PILLION_URL``. Tasks are called over HTTP; everything else goes over either.
        api_key: where the server asks for one; by default that of the environment, ``PILLION_API_KEY``;
            empty for none.
        timeout: seconds for one call, attempts included; the server is told, and stops when they are over.
        tls: certificates by files, read again when they change.
        retries: how often a call is tried again where that is safe, or the whole policy; 0: never.
        headers: sent with every request.
        proxy: by which the server is reached, ``http://HOST:PORT``; by default that of the environment
            (``HTTPS_PROXY``, ``HTTP_PROXY`` or ``ALL_PROXY``, less ``NO_PROXY``), which is never used for this machine;
            empty for none.

    Raises:
        ValueError: an argument cannot be.
        ImportError: ``grpc://`` without grpcio.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = SECONDS,
        tls: TLS | None = None,
        retries: Retries | int | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
    ) -> None:
        where = address(url, api_key=api_key, timeout=timeout, tls=tls, retries=retries, headers=headers, proxy=proxy)
        self.url = where.url
        self.core = Core(where)
        self._transport: Any = None
        if where.grpc:
            from pillion.client.grpc import GrpcSync  # noqa: PLC0415 - grpcio only where it is spoken

            self._transport = GrpcSync(where)
        else:
            self._transport = HTTP(where)

    def run(self, operation: Operation[Any]) -> Any:  # noqa: ANN401 - what the operation gives
        """Drive an operation to its end."""
        try:
            effect: Effect = next(operation)
            while True:
                try:
                    done = self._act(effect)
                except Exception as failure:  # noqa: BLE001 - the operation decides
                    effect = operation.throw(failure)
                else:
                    effect = operation.send(done)
        except StopIteration as end:
            return end.value

    def _act(self, effect: Effect) -> Answer | None:
        if isinstance(effect, Send):
            answer: Answer = self._transport.send(effect.request, effect.timeout)
            return answer
        time.sleep(effect.seconds)
        return None

    def ready(self) -> bool:
        """Whether the server is there and has loaded what it serves."""
        return bool(self.run(self.core.ready()))

    def wait_ready(self, timeout: float = SECONDS) -> None:
        """Wait until it is, for ``timeout`` seconds at most.

        Raises:
            DeadlineExceeded: it was not; says what the last look found.
        """
        self.run(self.core.wait_ready(timeout))

    def models(self) -> list[str]:
        """Names of the models."""
        names: list[str] = self.run(self.core.models())
        return names

    def model(self, name: str, version: str | None = None) -> ModelHandle:
        """A model; ``version`` may be an alias."""
        return ModelHandle(self, name, version)

    def predict(self, instances: Any, *, model: str | None = None, timeout: float | None = None) -> Any:  # noqa: ANN401 - rows in, predictions out
        """Predictions for rows as JSON has them, without numpy: nested lists or an array; a list of dicts for a model
        with several inputs.

        Args:
            instances: one item a row.
            model: only where several models are served.
            timeout: seconds; by default the client's.

        Raises:
            CallError: the server says why.
        """
        return self.run(self.core.predict_rows(model, instances, timeout))

    def tasks(self) -> dict[str, TaskSpec]:
        """The tasks by name, as the server describes them."""
        found: dict[str, TaskSpec] = self.run(self.core.tasks())
        return found

    def task(self, name: str, *, model: str | None = None, idempotent: bool = False) -> TaskHandle:
        """A task, to be called.

        Args:
            name: of the task.
            model: only where several models have it.
            idempotent: whether computing it twice is the same as once, so that it may be tried again.
        """
        return TaskHandle(self, name, model, idempotent=idempotent)

    def call(self, task: str, /, *, model: str | None = None, **arguments: Any) -> Any:  # noqa: ANN401 - by the task
        """The result of a task, as JSON gives it; a :class:`~pillion.File` where it is one. Nothing is checked before.

        Raises:
            CallError: the server says why.
        """
        return self.run(
            self.core.call(task, model, arguments, check=False, idempotent=False, timeout=None),
        )

    def stream(
        self,
        inputs: Iterable[Any],
        call: Callable[[Any], Any] | None = None,
        *,
        return_x: bool = False,
        return_exceptions: bool = False,
        concurrency: int = 16,
        timeout: float | None = None,
    ) -> Iterator[Any]:
        """Results for many inputs in their order, several calls at once: see :func:`pillion.client.ordered`.

        Args:
            inputs: any number of them, taken as results are read.
            call: of one; by default :meth:`predict` of the only model.
            return_x: give pairs of input and result.
            return_exceptions: give a call's exception in the place of its result.
            concurrency: calls at once.
            timeout: seconds for each.
        """
        made: Callable[[Any], Any] = call or (lambda x: self.predict(x, timeout=timeout))
        return ordered(
            made, inputs, return_x=return_x, return_exceptions=return_exceptions, concurrency=concurrency,
            timeout=timeout,
        )  # fmt: skip

    def events(self, answer: Answer) -> Generator[Event, None, None]:
        """Events of a stream that has begun."""
        events: Generator[Event, None, None] = self._transport.events(answer)
        return events

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,  # noqa: ANN401 - whatever JSON can say
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        timeout: float | None = None,
    ) -> Any:  # noqa: ANN401 - as the route answers
        """One request of any route, as an application's own, with the client's key, certificates, attempts and errors.

        Args:
            method: ``GET``, ``POST``, ...
            path: from the server's root, with its slash.
            json: the body; None for none.
            query: of the URL.
            headers: beside those of the client.
            idempotent: whether doing it twice is doing it once, so that it may be tried again; by default what HTTP
                says of the method.
            timeout: seconds; by default the client's.

        Returns:
            What its JSON says; a :class:`~pillion.File` where it is one; None without a body.

        Raises:
            CallError: the server says why.
        """
        return self.run(self.core.request(method, path, json, query, headers, idempotent=idempotent, timeout=timeout))

    def job(self, id: str) -> Job:  # noqa: A002 - the field's name
        """A job that was handed in before, by whatever program.

        Raises:
            NotFound: there is none, or none any more.
        """
        return Job(self, which(self.run(self.core.find(id))))

    def jobs(
        self,
        *,
        kind: Literal["prediction", "training"] | None = None,
        state: str | Sequence[str] = (),
        model: str | None = None,
        task: str | None = None,
        limit: int = 100,
        after: int | str | None = None,
    ) -> JobPage:
        """Jobs as they are, the newest first.

        Args:
            kind: of them; by default both.
            state: of them: ``QUEUED``, ``RUNNING``, ``COMPLETED``, ``CANCELED``, ``ERRORED``, one or several.
            model: that they are of, or make.
            task: of them.
            limit: at most so many, up to 1000.
            after: ``next`` of the page before.
        """
        page: JobPage = self.run(self.core.jobs(wanted(kind, state, model, task, limit, after)))
        return page

    def trainings(self) -> dict[str, TrainingSpec]:
        """The trainings by name, as the server describes them."""
        found: dict[str, TrainingSpec] = self.run(self.core.trainings())
        return found

    def train(
        self,
        training: str,
        model_name: str,
        parameters: Mapping[str, Any] | None = None,
        /,
        *,
        deploy: bool = False,
        output_path: str | os.PathLike[str] | None = None,
        key: str | None = None,
        **more: Any,  # noqa: ANN401 - by the training
    ) -> Job:
        """Begin a training.

        Args:
            training: as the server names it: the class's first task and the class, ``ClassifyMoodTrain``.
            model_name: of the model that it makes.
            parameters: of the training, by name; data as a list, or ``{"uri": ...}``.
            deploy: serve it when it is there.
            output_path: a folder of the server's machine to write the model into as well; it must not be there.
            key: the same one begins the same training once, however often it is sent; by default one of its own.
            more: parameters.
        """
        body: dict[str, object] = {"model_name": model_name, "parameters": {**(parameters or {}), **more}}
        body |= {"deploy": True} if deploy else {}
        body |= {} if output_path is None else {"output_path": os.fspath(output_path)}
        state = self.run(self.core.train(training, body, key))
        return Job(self, Which("training", state["training_id"]))

    def info(self, *names: str) -> list[dict[str, Any]]:
        """What the server tells of these models, or of all: version, state, reason, size and more."""
        found: list[dict[str, Any]] = self.run(self.core.info(*names))
        return found

    def deploy(
        self,
        name: str,
        source: str | os.PathLike[str] | None = None,
        *,
        version: str | None = None,
        format: str | None = None,  # noqa: A002 - the field's name
        digest: str | None = None,
        metadata: Mapping[str, object] | None = None,
        timeout: float = 300.0,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Deploy a model; what the server tells of it once it serves.

        Args:
            name: of the model.
            source: a file or folder here, sent as it is read, or a storage URI.
            version: instead, one of the server's store, or an alias.
            format: where the files do not tell it.
            digest: what a storage URI must lead to, ``sha256:...``.
            metadata: kept with the version.
            timeout: seconds, the loading included; of files that are sent, since the last piece of them.
            progress: called with the bytes of them that were sent so far, and those that there are.
        """
        what = Deployment(name, source, version, format, digest, metadata)
        told: dict[str, Any] = self.run(self.core.deploy(what, timeout, progress))
        return told

    def reconfigure(
        self, name: str, config: Mapping[str, Any], *, version: str | None = None, timeout: float = 90.0
    ) -> dict[str, Any]:
        """Give a model that serves another config, by the ``reconfigure`` of its class, without loading it anew.

        Returns:
            ``model_id``, ``version``, and how many worker ``processes`` took it; 0: the server's own did.
        """
        told: dict[str, Any] = self.run(self.core.reconfigure(name, config, version, timeout))
        return told

    def undeploy(self, name: str, *, purge: bool = False, timeout: float = 90.0) -> None:
        """Take a model out of service after its requests; ``purge`` removes its versions from the store, too."""
        self.run(self.core.undeploy(name, timeout, purge=purge))

    def close(self) -> None:
        """End the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
