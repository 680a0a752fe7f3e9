"""``pillion.remote``: the models of another service, called as those of this server are.

A call has the request's id, its place in its trace, and what is left of its time. It ends with the request: its
connection is closed, which the other server sees. What goes wrong there, or on the way, is a :class:`ServiceError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from pillion.applications.connections import here, parted, parted_here, waiting
from pillion.applications.models import Pending
from pillion.authoring.context import CURRENT
from pillion.client.aio import AsyncClient
from pillion.client.errors import CallError, ClientError, DeadlineExceeded, NeverSent
from pillion.client.exchange import GrpcCall, Send, posted
from pillion.client.sync import SECONDS, Client
from pillion.client.values import value_of
from pillion.errors import ErrorCode, PillionError
from pillion.execution.asking import WorkerCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    from pillion.authoring.context import Working
    from pillion.client.core import Core
    from pillion.client.exchange import Effect, Operation
    from pillion.client.retries import Retries
    from pillion.client.tls import TLS
    from pillion.tracing.nested import Trace

__all__ = ["RemoteModel", "ServiceError", "address_of", "remote"]

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)?")
_CODES: Final[Mapping[int, ErrorCode]] = {
    400: ErrorCode.INVALID_ARGUMENT,
    404: ErrorCode.NOT_FOUND,
    409: ErrorCode.CONFLICT,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
    415: ErrorCode.INVALID_ARGUMENT,
    422: ErrorCode.INVALID_ARGUMENT,
    429: ErrorCode.QUEUE_FULL,
    502: ErrorCode.NOT_READY,
    503: ErrorCode.NOT_READY,
    504: ErrorCode.DEADLINE_EXCEEDED,
}
"""Others are this side's mistake, or the other's: 500."""


class ServiceError(PillionError):
    """Another service did not answer, or answered with an error.

    Attributes:
        service: as it was named.
        status: of its answer; None where there was none.
        id: of the request there, as its log has it.
    """

    def __init__(self, code: ErrorCode, message: str, service: str, error: ClientError) -> None:
        super().__init__(code, message, retry_after=getattr(error, "retry_after", None))
        self.service = service
        self.status: int | None = error.status if isinstance(error, CallError) else None
        self.id = error.id if isinstance(error, CallError) else ""


def address_of(service: str) -> str:
    """The URL of a service: its own, or that of an InferenceService, ``NAME`` or ``NAME.NAMESPACE``.

    Raises:
        ValueError: it is neither.
    """
    if "://" in service:
        return service
    if _NAME.fullmatch(service) is None:
        raise ValueError(f"service: {service!r} is neither a URL nor the NAME or NAME.NAMESPACE of an InferenceService")
    name, _, namespace = service.partition(".")
    return f"http://{name}-predictor.{namespace}.svc" if namespace else f"http://{name}-predictor"


def remote(
    service: str,
    model: str | None = None,
    *,
    timeout: float = SECONDS,
    api_key: str | None = None,
    tls: TLS | None = None,
    retries: Retries | int | None = None,
    headers: Mapping[str, str] | None = None,
) -> RemoteModel:
    """A model of another service.

    Args:
        service: an InferenceService of this cluster, ``NAME`` or ``NAME.NAMESPACE``; or the URL of any server,
            ``http(s)://``, ``unix://``, or ``grpc(s)://`` for predictions.
        model: by default the one that is called as the InferenceService, or the only one.
        timeout: seconds for a call where the request has no deadline that is sooner.
        api_key: where the service asks for one. Never that of the environment, which is this server's own.
        tls: certificates, see :class:`pillion.TLS`.
        retries: see :class:`pillion.Client`.
        headers: sent with every call.

    Raises:
        ValueError: an argument cannot be.
    """
    url = address_of(service)
    named = service.partition(".")[0] if model is None and "://" not in service else model
    options = {"api_key": api_key or "", "timeout": timeout, "tls": tls, "retries": retries, "headers": headers}
    options["proxy"] = ""  # services of one cluster reach each other; a proxy of the environment leads out of it
    return RemoteModel(service, url, named, options)


class RemoteModel:
    """See :func:`remote`. For any number of requests, threads and event loops."""

    def __init__(self, service: str, url: str, model: str | None, options: dict[str, Any]) -> None:
        self.service = service
        self.model = model
        self._url = url
        self._options = options
        self._key = (url, *(tuple(value.items()) if isinstance(value, dict) else value for value in options.values()))
        self._told: dict[str, Any] = {}
        AsyncClient(url, **options)  # what is wrong is told here

    def task(self, task: str, /, *, shield: bool = False, **arguments: Any) -> Pending[Any]:  # noqa: ANN401 - as declared
        """Call a task; what it takes, the other server checks.

        Args:
            task: its name.
            shield: go on when the request is over, also by its time.
            arguments: by name.

        Raises (when it is waited for):
            ServiceError: the service did not answer, or with an error.
        """
        return _Sent(
            self,
            task,
            lambda core, seconds: core.call(
                task, self.model, arguments, check=False, idempotent=False, timeout=seconds
            ),
            shield=shield,
        )

    def predict(
        self,
        data: Any = None,  # noqa: ANN401 - whatever numpy takes
        /,
        *,
        shield: bool = False,
        **inputs: Any,  # noqa: ANN401 - as above
    ) -> Pending[Any]:
        """Compute outputs from arrays.

        Args:
            data: of the model's one input.
            shield: go on when the request is over.
            inputs: by name, for models with several.

        Returns:
            The one output as array, or several by name.
        """

        def infer(core: Core, seconds: float) -> Operation[Any]:
            name = self.model or (yield from core.only_model())
            given = data if data is not None else inputs
            outputs = yield from core.predict(self._told, name, None, given, (), seconds)
            return next(iter(outputs.values())) if len(outputs) == 1 else outputs

        return _Sent(self, "predict", infer, shield=shield)

    def task_of(self, task: str, value: Any, /, *, shield: bool = False) -> Pending[Any]:  # noqa: ANN401 - as declared
        """Call a task with a value: an object of its arguments, or that of its one required parameter."""
        body = {"inputs": value} if self.model is None else {"model_id": self.model, "inputs": value}
        path = f"/api/v1/task/{quote(task, safe='')}"
        return _Sent(self, task, lambda core, seconds: _posted(core, path, body, seconds), shield=shield)

    def post(self, path: str, body: Any, /, *, shield: bool = False) -> Pending[Any]:  # noqa: ANN401 - JSON
        """Send JSON to a path, and take the JSON that is answered."""
        return _Sent(self, path, lambda core, seconds: _posted(core, path, body, seconds), shield=shield)

    async def stream(self, task: str, /, **arguments: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - as declared
        """The items of a task that yields, as they come."""
        made = Made(self, CURRENT.get(), shield=False)
        with made.told(), made.traced(task) as trace:
            client = self.here()
            begun = client.core.begin_stream(task, self.model, arguments, timeout=made.seconds)
            answer = await client.run(made.along(begun, trace, streams=True))
            async with contextlib.aclosing(client.events(answer)) as events:
                async for event in events:
                    yield event.data

    def here(self) -> AsyncClient:
        """The client of the running event loop."""
        return here(self._key, lambda: AsyncClient(self._url, **self._options))

    def waiting(self) -> Client:
        """The client of code that has no event loop."""
        return waiting(self._key, lambda: Client(self._url, **self._options))

    def close(self) -> None:
        """End the connections of code that has no event loop. Calls after that make new ones."""
        if (client := parted(self._key)) is not None:
            client.close()

    async def aclose(self) -> None:
        """End those of the running event loop. Servers, and flows with a loop of their own, do so when they end."""
        if (client := parted_here(self._key)) is not None:
            await client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def timeout(self) -> float:
        """Seconds for a call."""
        return float(self._options["timeout"])

    def __repr__(self) -> str:
        return f"remote({self.service!r}, {self.model!r})"


def _posted(core: Core, path: str, body: object, seconds: float) -> Operation[Any]:
    answer = yield from core.ask(posted(path, body), seconds)
    return value_of(answer)


class Made:
    """What one call takes along from the request that it is made for.

    Raises:
        PillionError: the time of that is up.
    """

    def __init__(self, model: RemoteModel, working: Working | None, *, shield: bool) -> None:
        self._model = model
        self._working = working
        ends = time.monotonic() + model.timeout
        if working is not None and working.deadline is not None and not shield:
            ends = min(ends, working.deadline)
        self._ends = ends
        self.seconds = ends - time.monotonic()
        if self.seconds <= 0:
            raise PillionError(ErrorCode.DEADLINE_EXCEEDED, f"service {model.service}: the request's time was up")

    def along(self, operation: Operation[Any], trace: Trace | None, *, streams: bool = False) -> Operation[Any]:
        """The operation, with the headers and within the time of the request."""
        headers = {"x-request-timeout-seconds": f"{self.seconds:.3f}"} if streams else {}
        if self._working is not None and self._working.request_id:
            headers["x-request-id"] = self._working.request_id
        if trace is not None:
            headers["traceparent"] = trace.header
        try:
            effect: Effect = next(operation)
            while True:
                try:
                    done = yield self._with(effect, headers)
                except Exception as failure:  # noqa: BLE001 - the operation decides
                    effect = operation.throw(failure)
                else:
                    effect = operation.send(done)
        except StopIteration as end:
            return end.value

    def _with(self, effect: Effect, headers: Mapping[str, str]) -> Effect:
        if not isinstance(effect, Send):
            return effect
        seconds = self._ends - time.monotonic()
        if seconds <= 0:
            raise DeadlineExceeded(504, f"the time of the call, {self.seconds:.3g} s, was up")
        request = effect.request
        merged = {**request.headers, **headers}
        if isinstance(request, GrpcCall):
            merged.pop("x-request-timeout-seconds", None)
        return Send(dataclasses.replace(request, headers=merged), min(effect.timeout, seconds))

    def traced(self, what: str) -> contextlib.AbstractContextManager[Trace | None]:
        """Note the call in the request's trace."""
        trace = None if self._working is None else self._working.trace
        if trace is None:
            return contextlib.nullcontext()
        model = self._model
        attributes: dict[str, Any] = {"server.address": model.service, "pillion.task.name": what}
        if model.model is not None:
            attributes["pillion.model.name"] = model.model
        return trace.span("pillion.remote", attributes, remote=True)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Turn failures of the client into those of a call.

        Raises:
            ServiceError: one of them.
        """
        try:
            yield
        except ClientError as error:
            raise _failure(error, self._model.service) from error


def _failure(error: ClientError, service: str) -> ServiceError:
    if isinstance(error, CallError):
        code = _CODES.get(error.status, ErrorCode.MODEL_FAILED)
    else:
        # Only where nothing was sent may the caller simply try again.
        code = ErrorCode.NOT_READY if isinstance(error, NeverSent) else ErrorCode.MODEL_FAILED
    return ServiceError(code, f"service {service}: {error}", service, error)


class _Sent(Pending[Any]):
    """A call of another service that is made when somebody waits for it."""

    def __init__(
        self, model: RemoteModel, what: str, operation: Callable[[Core, float], Operation[Any]], *, shield: bool
    ) -> None:
        working = CURRENT.get()
        super().__init__(self._made, working, shield=shield)
        self._model = model
        self._what = what
        self._operation = operation

    async def _made(self) -> Any:  # noqa: ANN401 - as the task declares
        made = Made(self._model, self._working, shield=self._shield)
        with made.told(), made.traced(self._what) as trace:
            client = self._model.here()
            return await client.run(made.along(self._operation(client.core, made.seconds), trace))

    def result(self) -> Any:  # noqa: ANN401 - as above
        """See :meth:`Pending.result`; in a program or a worker process this thread waits for the service itself."""
        working = self._working
        if working is not None and not (isinstance(working, WorkerCall) and working.waits_here):
            return super().result()
        self.refuse_loop()
        made = Made(self._model, working, shield=self._shield)
        with made.told(), made.traced(self._what) as trace:
            client = self._model.waiting()
            return client.run(made.along(self._operation(client.core, made.seconds), trace))
