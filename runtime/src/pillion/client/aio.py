"""The client for event loops. Methods mean what those of :class:`pillion.client.Client` mean, and are awaited."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self

from pillion.client.address import address
from pillion.client.core import Core
from pillion.client.exchange import Send
from pillion.client.http import AsyncHTTP
from pillion.client.inference import Infer
from pillion.client.management import Deployment
from pillion.client.ordering import ordered_async
from pillion.client.services import Which
from pillion.client.sync import SECONDS

if TYPE_CHECKING:
    import os
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Mapping,
        Sequence,
    )

    from pillion.client.description import TaskSpec
    from pillion.client.exchange import Answer, Effect, Operation
    from pillion.client.retries import Retries
    from pillion.client.services import JobState
    from pillion.client.tensors import Array
    from pillion.client.tls import TLS

__all__ = ["AsyncClient", "AsyncJob", "AsyncModelHandle", "AsyncTaskHandle"]


class AsyncClient:
    """A connection to one server, for one event loop. An asynchronous context manager.

    Arguments are those of :class:`pillion.client.Client`.
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
    ) -> None:
        where = address(url, api_key=api_key, timeout=timeout, tls=tls, retries=retries, headers=headers)
        self.url = where.url
        self.core = Core(where)
        self._transport: Any = None
        self._where = where

    async def run(self, operation: Operation[Any]) -> Any:  # noqa: ANN401 - what the operation gives
        """Drive an operation to its end."""
        try:
            effect: Effect = next(operation)
            while True:
                try:
                    done = await self._act(effect)
                except Exception as failure:  # noqa: BLE001 - the operation decides
                    effect = operation.throw(failure)
                else:
                    effect = operation.send(done)
        except StopIteration as end:
            return end.value

    async def _act(self, effect: Effect) -> Answer | None:
        if isinstance(effect, Send):
            answer: Answer = await self._connected().send(effect.request, effect.timeout)
            return answer
        await asyncio.sleep(effect.seconds)
        return None

    def _connected(self) -> Any:  # noqa: ANN401 - either transport
        # Made by the first call, which is on the event loop that the connections belong to.
        if self._transport is None:
            if self._where.grpc:
                from pillion.client.grpc import GrpcAsync  # noqa: PLC0415 - grpcio only where it is spoken

                self._transport = GrpcAsync(self._where)
            else:
                self._transport = AsyncHTTP(self._where)
        return self._transport

    async def ready(self) -> bool:
        """Whether the server is there and has loaded what it serves."""
        return bool(await self.run(self.core.ready()))

    async def wait_ready(self, timeout: float = SECONDS) -> None:  # noqa: ASYNC109 - as the other client's
        """Wait until it is."""
        await self.run(self.core.wait_ready(timeout))

    async def models(self) -> list[str]:
        """Names of the models."""
        names: list[str] = await self.run(self.core.models())
        return names

    def model(self, name: str, version: str | None = None) -> AsyncModelHandle:
        """A model; ``version`` may be an alias."""
        return AsyncModelHandle(self, name, version)

    async def predict(self, instances: Any, *, model: str | None = None, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - as the other client's
        """Predictions for rows as JSON has them."""
        return await self.run(self.core.predict_rows(model, instances, timeout))

    async def tasks(self) -> dict[str, TaskSpec]:
        """The tasks by name, as the server describes them."""
        found: dict[str, TaskSpec] = await self.run(self.core.tasks())
        return found

    def task(self, name: str, *, model: str | None = None, idempotent: bool = False) -> AsyncTaskHandle:
        """A task, to be called."""
        return AsyncTaskHandle(self, name, model, idempotent=idempotent)

    async def call(self, task: str, /, *, model: str | None = None, **arguments: Any) -> Any:  # noqa: ANN401 - by the task
        """The result of a task. Nothing is checked before."""
        return await self.run(self.core.call(task, model, arguments, check=False, idempotent=False, timeout=None))

    def stream(
        self,
        inputs: Iterable[Any] | AsyncIterable[Any],
        call: Callable[[Any], Awaitable[Any]] | None = None,
        *,
        return_x: bool = False,
        return_exceptions: bool = False,
        concurrency: int = 16,
        timeout: float | None = None,
    ) -> AsyncIterator[Any]:
        """Results for many inputs in their order, several calls at once: see :func:`pillion.client.ordered_async`."""
        made: Callable[[Any], Awaitable[Any]] = call or (lambda x: self.predict(x, timeout=timeout))
        return ordered_async(
            made, inputs, return_x=return_x, return_exceptions=return_exceptions, concurrency=concurrency,
            timeout=timeout,
        )  # fmt: skip

    async def events(self, answer: Answer, timeout: float | None) -> AsyncGenerator[tuple[str, Any], None]:  # noqa: ASYNC109 - between events
        """Events of a stream that has begun."""
        events = self._transport.events(answer, timeout or self.core.address.timeout)
        async with contextlib.aclosing(events):
            async for event in events:
                yield event

    async def train(
        self, training: str, model_name: str, *, deploy: bool = False, key: str | None = None, **parameters: Any  # noqa: ANN401 - by the task
    ) -> AsyncJob:  # fmt: skip
        """Begin a training."""
        body: dict[str, object] = {"model_name": model_name, "parameters": parameters}
        body |= {"deploy": True} if deploy else {}
        state = await self.run(self.core.train(training, body, key))
        return AsyncJob(self, Which("training", state["training_id"]))

    async def info(self, *names: str) -> list[dict[str, Any]]:
        """What the server tells of these models, or of all."""
        found: list[dict[str, Any]] = await self.run(self.core.info(*names))
        return found

    async def deploy(
        self,
        name: str,
        source: str | os.PathLike[str] | None = None,
        *,
        version: str | None = None,
        format: str | None = None,  # noqa: A002 - the field's name
        digest: str | None = None,
        metadata: Mapping[str, object] | None = None,
        timeout: float = 300.0,  # noqa: ASYNC109 - as the other client's
    ) -> dict[str, Any]:
        """Deploy a model; what the server tells of it once it serves."""
        what = Deployment(name, source, version, format, digest, metadata)
        told: dict[str, Any] = await self.run(self.core.deploy(what, timeout))
        return told

    async def undeploy(self, name: str, *, purge: bool = False, timeout: float = 90.0) -> None:  # noqa: ASYNC109 - as above
        """Take a model out of service after its requests."""
        await self.run(self.core.undeploy(name, timeout, purge=purge))

    async def close(self) -> None:
        """End the connections."""
        if self._transport is not None:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncModelHandle:
    """A model of a server."""

    def __init__(self, client: AsyncClient, name: str, version: str | None) -> None:
        self._client = client
        self.name = name
        self.version = version
        self._told: dict[str, Any] = {}

    async def metadata(self) -> dict[str, Any]:
        """Name, versions, platform, inputs and outputs."""
        told: dict[str, Any] = await self._client.run(self._client.core.metadata(self.name, self.version))
        return told

    async def predict(self, data: Any, *, output: str | None = None, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - as the other client's
        """Predictions, in the form that the data has."""
        from pillion.client.results import like  # noqa: PLC0415 - numpy only where arrays are

        wanted = () if output is None else (output,)
        core = self._client.core
        outputs = await self._client.run(core.predict(self._told, self.name, self.version, data, wanted, timeout))
        return like(data, outputs, output)

    async def infer(
        self,
        inputs: Mapping[str, Any],
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> dict[str, Array]:
        """One call of the Open Inference Protocol: arrays by name, both ways."""
        from pillion.client.tensors import guessed  # noqa: PLC0415 - as above

        call = Infer(self.name, self.version, guessed(inputs), outputs, parameters)
        found: dict[str, Array] = await self._client.run(self._client.core.infer(call, timeout))
        return found


class AsyncTaskHandle:
    """A task of a server: called as the method would be."""

    def __init__(self, client: AsyncClient, name: str, model: str | None, *, idempotent: bool) -> None:
        self._client = client
        self.name = name
        self._model = model
        self._idempotent = idempotent

    async def __call__(self, *, timeout: float | None = None, **arguments: Any) -> Any:  # noqa: ANN401, ASYNC109 - as above
        """Its result."""
        core = self._client.core
        return await self._client.run(
            core.call(self.name, self._model, arguments, check=True, idempotent=self._idempotent, timeout=timeout)
        )

    async def stream(self, *, timeout: float | None = None, **arguments: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401, ASYNC109 - as above
        """The items of a task that streams, one by one; ``aclose`` it, or leave ``contextlib.aclosing``, to end it."""
        core = self._client.core
        answer = await self._client.run(core.begin_stream(self.name, self._model, arguments, timeout=timeout))
        async with contextlib.aclosing(self._client.events(answer, timeout)) as events:
            async for _, item in events:
                yield item

    async def submit(self, *, key: str | None = None, priority: int | None = None, **arguments: Any) -> AsyncJob:  # noqa: ANN401 - by the task
        """Hand it in as a job."""
        state = await self._client.run(self._client.core.submit(self.name, self._model, arguments, key, priority))
        return AsyncJob(self._client, Which("prediction", state["prediction_id"], self.name))


class AsyncJob:
    """A prediction or training that was handed in."""

    def __init__(self, client: AsyncClient, which: Which) -> None:
        self._client = client
        self.kind = which.kind
        self.id = which.id
        self._which = which

    async def status(self) -> JobState:
        """As it is now."""
        state: JobState = await self._client.run(self._client.core.job(self._which))
        return state

    async def wait(
        self, progress: Callable[[JobState], object] | None = None, timeout: float | None = None  # noqa: ASYNC109 - as above
    ) -> JobState:  # fmt: skip
        """Wait until it has ended; ``progress`` is called whenever state or progress have changed."""
        state: JobState = await self._client.run(self._client.core.wait(self._which, progress, timeout))
        return state

    async def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - as above
        """Wait for the end, and give what the direct call would have given; of a training, its state."""
        state = await self.wait(timeout=timeout)
        if self.kind == "training":
            return state
        return await self._client.run(self._client.core.result(self._which))

    async def cancel(self) -> JobState:
        """Have it stopped; one that has ended stays as it is."""
        state: JobState = await self._client.run(self._client.core.job(self._which, cancel=True))
        return state

    async def logs(self, *, follow: bool = False) -> AsyncGenerator[str, None]:
        """What a training has printed, in pieces; with ``follow`` until it has ended."""
        core = self._client.core
        answer = await self._client.run(core.logs(self._which, follow=follow))
        if not follow:
            yield core.services.text(answer)
            return
        async with contextlib.aclosing(self._client.events(answer, 365 * 86400.0)) as events:
            async for name, data in events:
                if name == "log":
                    yield data["text"]
