"""What a client for event loops hands out. Methods mean what those in :mod:`pillion.client.handles` mean."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pillion.client.errors import LOST
from pillion.client.following import PATIENCE, Following
from pillion.client.inference import Infer
from pillion.client.services import Which

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from pillion.client.aio import AsyncClient
    from pillion.client.errors import ClientError
    from pillion.client.following import JobEvent, What
    from pillion.client.inference import Outputs
    from pillion.client.services import JobState

__all__ = ["AsyncJob", "AsyncModelHandle", "AsyncTaskHandle"]


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
    ) -> Outputs:
        """One call of the Open Inference Protocol: arrays by name, both ways."""
        from pillion.client.tensors import guessed  # noqa: PLC0415 - as above

        call = Infer(self.name, self.version, guessed(inputs), outputs, parameters)
        found: Outputs = await self._client.run(self._client.core.infer(call, timeout))
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
        async with contextlib.aclosing(self._client.events(answer)) as events:
            async for event in events:
                yield event.data

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
        self,
        progress: Callable[[JobState], object] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        *,
        patience: float = PATIENCE,
    ) -> JobState:
        """Wait until it has ended; ``progress`` is called whenever state or progress have changed."""
        state: JobState = await self._client.run(self._client.core.wait(self._which, progress, timeout, patience))
        return state

    async def result(self, timeout: float | None = None, *, patience: float = PATIENCE) -> Any:  # noqa: ANN401, ASYNC109 - as above
        """Wait for the end, and give what the direct call would have given; of a training, its state."""
        state = await self.wait(timeout=timeout, patience=patience)
        if self.kind == "training":
            return state
        return await self._client.run(self._client.core.result(self._which))

    async def cancel(self) -> JobState:
        """Have it stopped; one that has ended stays as it is."""
        state: JobState = await self._client.run(self._client.core.job(self._which, cancel=True))
        return state

    async def logs(self, *, follow: bool = False, patience: float = PATIENCE) -> AsyncGenerator[str, None]:
        """What a training has printed, in pieces; with ``follow`` until it has ended."""
        if not follow:
            core = self._client.core
            yield core.services.text(await self._client.run(core.written(self._which, "logs")))
            return
        async with contextlib.aclosing(self.follow("logs", patience=patience)) as events:
            async for event in events:
                if event.kind == "log":
                    yield event.data["text"]

    async def metrics(self) -> list[dict[str, Any]]:
        """The numbers that a training has logged so far."""
        core = self._client.core
        return core.services.numbers(await self._client.run(core.written(self._which, "metrics")))

    async def follow(self, what: What = "metrics", *, patience: float = PATIENCE) -> AsyncGenerator[JobEvent, None]:
        """What a training tells as it happens, over lost connections and restarts of the server."""
        following = Following(self._client.core, self._which, what, patience)
        while not following.ended:
            failure: ClientError | None = None
            begun = await self._client.run(following.begin())
            async with contextlib.aclosing(self._client.events(begun)) as events:
                try:
                    async for event in events:
                        if (told := following.heard(event)) is not None:
                            yield told
                except LOST as lost:
                    failure = lost
            if not following.ended:
                told = following.lost(failure)
                if told is not None:
                    yield told
