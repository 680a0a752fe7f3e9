"""The client for event loops. Methods mean what those of :class:`pillion.client.Client` mean, and are awaited."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Literal, Self

from pillion.client.address import address
from pillion.client.aio_handles import AsyncJob, AsyncModelHandle, AsyncTaskHandle
from pillion.client.core import Core
from pillion.client.exchange import Send
from pillion.client.http import AsyncHTTP
from pillion.client.management import Deployment
from pillion.client.ordering import ordered_async
from pillion.client.services import JobPage, Which, wanted, which
from pillion.client.sync import SECONDS

if TYPE_CHECKING:
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

    from pillion.client.description import TaskSpec, TrainingSpec
    from pillion.client.events import Event
    from pillion.client.exchange import Answer, Effect, Operation
    from pillion.client.retries import Retries
    from pillion.client.services import Progress
    from pillion.client.tls import TLS

__all__ = ["AsyncClient"]


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
        proxy: str | None = None,
    ) -> None:
        where = address(url, api_key=api_key, timeout=timeout, tls=tls, retries=retries, headers=headers, proxy=proxy)
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

    def events(self, answer: Answer) -> AsyncGenerator[Event, None]:
        """Events of a stream that has begun."""
        events: AsyncGenerator[Event, None] = self._transport.events(answer)
        return events

    async def request(
        self,
        method: str,
        path: str,
        json: Any = None,  # noqa: ANN401 - whatever JSON can say
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as the other client's
    ) -> Any:  # noqa: ANN401 - as the route answers
        """One request of any route."""
        asked = self.core.request(method, path, json, query, headers, idempotent=idempotent, timeout=timeout)
        return await self.run(asked)

    async def job(self, id: str) -> AsyncJob:  # noqa: A002 - the field's name
        """A job that was handed in before."""
        return AsyncJob(self, which(await self.run(self.core.find(id))))

    async def jobs(
        self,
        *,
        kind: Literal["prediction", "training"] | None = None,
        state: str | Sequence[str] = (),
        model: str | None = None,
        task: str | None = None,
        limit: int = 100,
        after: int | str | None = None,
    ) -> JobPage:
        """Jobs as they are, the newest first."""
        page: JobPage = await self.run(self.core.jobs(wanted(kind, state, model, task, limit, after)))
        return page

    async def trainings(self) -> dict[str, TrainingSpec]:
        """The trainings by name, as the server describes them."""
        found: dict[str, TrainingSpec] = await self.run(self.core.trainings())
        return found

    async def train(
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
    ) -> AsyncJob:
        """Begin a training."""
        body: dict[str, object] = {"model_name": model_name, "parameters": {**(parameters or {}), **more}}
        body |= {"deploy": True} if deploy else {}
        body |= {} if output_path is None else {"output_path": os.fspath(output_path)}
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
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Deploy a model; what the server tells of it once it serves."""
        what = Deployment(name, source, version, format, digest, metadata)
        told: dict[str, Any] = await self.run(self.core.deploy(what, timeout, progress))
        return told

    async def reconfigure(
        self,
        name: str,
        config: Mapping[str, Any],
        *,
        version: str | None = None,
        timeout: float = 90.0,  # noqa: ASYNC109 - as above
    ) -> dict[str, Any]:
        """Give a model that serves another config, without loading it anew."""
        told: dict[str, Any] = await self.run(self.core.reconfigure(name, config, version, timeout))
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
