"""The data plane: what every transport calls (see :class:`pillion.dataplane.call.InferencePlane`).

For a model that runs on the event loop and has a free slot, one request is one coroutine that never suspends: no task,
no lock, no future.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pillion.dataplane.call import ExplainResult, ModelState, WireProtocol
from pillion.dataplane.gathering import Gathering
from pillion.dataplane.lane import Lane
from pillion.dataplane.live import live_requests
from pillion.dataplane.offers import Offers
from pillion.dataplane.refusals import full, not_ready, stopped, stopping, unloaded
from pillion.dataplane.settings import PlaneSettings
from pillion.dataplane.streams import ItemStream
from pillion.dataplane.tasks import ServedTask, TaskResult
from pillion.errors import ErrorCode, PillionError
from pillion.metrics import OK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from pillion.authoring.context import Working
    from pillion.authoring.signature import ModelDefinition
    from pillion.authoring.text import Embedder, Generator
    from pillion.dataplane.call import Call, InferRequest, InferResponse
    from pillion.dataplane.live import LiveRequest
    from pillion.dataplane.statistics import ModelStatistics
    from pillion.dataplane.times import Times
    from pillion.execution.messages import Ask
    from pillion.metrics import RuntimeMetrics
    from pillion.model import ModelStatus
    from pillion.repository.repository import ModelRepository
    from pillion.repository.served import Served
    from pillion.runtimefile import DesiredModel

__all__ = ["DataPlane"]

_Value = TypeVar("_Value")
_INTERNAL: Final = ErrorCode.INTERNAL.value


class DataPlane:
    """Admission, queues, executors and metrics in front of a model repository. One event loop only."""

    def __init__(
        self,
        *,
        repository: ModelRepository,
        metrics: RuntimeMetrics,
        settings: PlaneSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        answer: Callable[[Working, Ask], Awaitable[Any]] | None = None,
    ) -> None:
        self.answer = answer
        """Makes the calls that code in worker processes asks for."""
        self._repository = repository
        self._settings = settings or PlaneSettings()
        self._metrics = metrics
        self._clock = clock
        self._lanes: dict[tuple[str, str | None], Lane] = {}
        self._by_served: dict[Served, Lane] = {}
        self._in_flight = 0
        self._idle: asyncio.Event | None = None
        self._gathering = Gathering()
        self._draining = False
        self._offers = Offers({}, repository)
        self._streams: set[ItemStream] = set()
        repository.on_serving = self._serve
        repository.on_retired = lambda _served: self._route()
        repository.on_closing = self._cut_off
        repository.on_forgotten = metrics.forget
        repository.on_evicted = self._evicted
        repository.on_aliased = self._route
        metrics.follow(repository.statuses)

    async def infer(self, request: InferRequest, call: Call) -> InferResponse:
        """See :meth:`pillion.dataplane.call.InferencePlane.infer`."""
        # What `_enter` and `_counted` do: calling them would cost each small request a tenth of the plane.
        arrived = self._clock()
        lane = self._lanes.get((request.model, request.version))
        if lane is None or self._draining or self._in_flight >= self._settings.max_in_flight:
            lane = await self._awake(request, call, lane)
        served = lane.served
        served.last_used = arrived
        served.references += 1
        self._in_flight += 1
        code = _INTERNAL
        try:
            response = lane.answer(request, await lane.serve(request, call, arrived))
            code = OK
            return response
        except PillionError as error:
            code = error.code.value
            raise
        except asyncio.CancelledError:
            code = ErrorCode.CANCELLED.value
            raise
        finally:
            self._ended(lane, call, code, arrived)

    async def perform(self, task: ServedTask, arguments: Mapping[str, Any], call: Call) -> TaskResult:
        """See :meth:`pillion.dataplane.tasks.TaskPlane.perform`."""
        arrived, lane = await self._enter(task, call)
        value = await self._counted(lane, call, arrived, lane.perform(task.signature, arguments, call, arrived))
        return TaskResult(task.model, task.version, value)

    async def explain(self, request: InferRequest, call: Call) -> ExplainResult:
        """See :meth:`pillion.dataplane.call.InferencePlane.explain`."""
        arrived, lane = await self._enter(request, call)
        return ExplainResult(await self._counted(lane, call, arrived, lane.explain(request, call, arrived)))

    async def _enter(self, target: InferRequest | ServedTask, call: Call) -> tuple[float, Lane]:
        """When a call arrived, and its lane, which it holds from now on.

        Raises:
            PillionError: it cannot even be tried.
        """
        arrived = self._clock()
        lane = self._lanes.get((target.model, target.version))
        if lane is None or self._draining or self._in_flight >= self._settings.max_in_flight:
            lane = await self._awake(target, call, lane)
        lane.served.last_used = arrived
        lane.served.references += 1
        self._in_flight += 1
        return arrived, lane

    async def _awake(self, target: InferRequest | ServedTask, call: Call, lane: Lane | None) -> Lane:
        """The lane of a model that sleeps, once it is loaded; nothing waits between that and the caller.

        Raises:
            PillionError: it does not sleep, or could not be loaded in time.
        """
        if lane is None and not self._draining and self._repository.sleeps(target.model, target.version):
            try:
                await self.awake(target.model, call.deadline, target.version)
            except PillionError as error:
                self._metrics.refused(call.protocol, error.code.value, target.model)
                raise
            lane = self._lanes.get((target.model, target.version))
        # What a request that has been admitted calls belongs to it: refusing that would fail it halfway.
        nested = call.protocol is WireProtocol.INTERNAL and not call.background
        if lane is None or (not nested and (self._draining or self._in_flight >= self._settings.max_in_flight)):
            raise self._refusal(target, call, lane)
        return lane

    async def awake(self, name: str, deadline: float | None = None, version: str | None = None) -> None:
        """See :meth:`pillion.dataplane.call.InferencePlane.awake`."""
        if not self._repository.sleeps(name, version):
            return
        seconds = self._settings.timeout_seconds if deadline is None else deadline - self._clock()
        waking = self._repository.wake(name, version)
        # Not wait_for: this may run outside of a task until its first wait, and the load is not the caller's alone.
        await asyncio.wait((waking,), timeout=None if seconds is None else max(0.0, seconds))
        error = waking.exception() if waking.done() and not waking.cancelled() else None
        if isinstance(error, PillionError):
            raise error

    async def _counted(self, lane: Lane, call: Call, arrived: float, working: Awaitable[_Value]) -> _Value:
        """Await a call that has entered, and count it by how it ends."""
        code = _INTERNAL
        try:
            value = await working
            code = OK
            return value
        except PillionError as error:
            code = error.code.value
            raise
        except asyncio.CancelledError:
            code = ErrorCode.CANCELLED.value
            raise
        finally:
            self._ended(lane, call, code, arrived)

    async def stream(self, task: ServedTask, arguments: Mapping[str, Any], call: Call) -> ItemStream:
        """See :meth:`pillion.dataplane.streams.StreamPlane.stream`."""
        arrived, lane = await self._enter(task, call)

        def ended(stream: ItemStream, code: str) -> None:
            self._streams.discard(stream)
            self._ended(lane, call, code, arrived)

        stream = ItemStream(task.model, task.version, arrived, lane.metrics, self._clock, ended)
        self._streams.add(stream)
        stream.begin(lane.stream(task.signature, arguments, call, arrived, stream.buffer))
        await stream.begun()
        return stream

    def end_streams(self) -> None:
        """End the streams that are open, telling each reader that the server stops."""
        for stream in list(self._streams):
            stream.fail(stopped())

    def _ended(self, lane: Lane, call: Call, code: str, arrived: float) -> None:
        lane.served.release()
        self._in_flight -= 1
        if self._idle is not None and self._in_flight == 0:
            self._idle.set()
        now = self._clock()
        lane.metrics.request(call.protocol, code, now - arrived)
        if lane.live:
            lane.live.pop(id(call), None)
        if call.times is not None:
            self._observed(call.times, lane, call, arrived, now)

    def _observed(self, times: Times, lane: Lane, call: Call, arrived: float, left: float) -> None:
        """Complete what somebody wants to know of a request."""
        times.arrived, times.left = arrived, left
        times.model, times.version = lane.metrics.model, lane.metrics.version
        if times.trace_id:
            lane.metrics.exemplar(call.protocol, left - arrived, times.trace_id)

    def tasks(self) -> Sequence[ServedTask]:
        """See :meth:`pillion.dataplane.tasks.TaskPlane.tasks`."""
        return self._offers.directory.tasks

    def expects_tasks(self) -> bool:
        """See :meth:`pillion.dataplane.tasks.TaskPlane.expects_tasks`."""
        return bool(self._offers.directory.tasks) or self._repository.awaits_code()

    def awaits_code(self) -> bool:
        """Whether a class of the user's is served that has not been loaded yet."""
        return self._repository.awaits_code()

    def find(self, task: str, model: str | None = None, version: str | None = None) -> ServedTask:
        """See :meth:`pillion.dataplane.tasks.TaskPlane.find`."""
        return self._offers.find(task, model, version)

    def generator(self, model: str, version: str | None = None) -> tuple[ServedTask, Generator]:
        """See :meth:`pillion.dataplane.streams.TextPlane.generator`."""
        return self._offers.generator(model, version)

    def embedder(self, model: str, version: str | None = None) -> tuple[ServedTask, Embedder]:
        """See :meth:`pillion.dataplane.streams.TextPlane.embedder`."""
        return self._offers.embedder(model, version)

    def text_models(self) -> tuple[Mapping[str, Generator], Mapping[str, Embedder]]:
        """See :meth:`pillion.dataplane.streams.TextPlane.text_models`."""
        return self._offers.generators, self._offers.embedders

    def definitions(self) -> list[tuple[DesiredModel, ModelDefinition]]:
        """The classes of the user's that are served now, by the model's name."""
        return self._offers.definitions()

    def code_files(self) -> dict[str, tuple[str, ...]]:
        """Files of the models written in Python (see :meth:`ModelRepository.code_files`)."""
        return self._repository.code_files()

    def refused(self, error: PillionError, protocol: WireProtocol, model: str, version: str | None = None) -> None:
        """See :meth:`pillion.dataplane.call.InferencePlane.refused`."""
        lane = self._lanes.get((model, version))
        if lane is None:  # a name made up by a client must not become a series
            self._metrics.refused(protocol, error.code.value)
        else:
            self._metrics.refused(protocol, error.code.value, lane.served.desired.name, lane.served.desired.version)

    def ready(self) -> bool:
        """See :meth:`pillion.dataplane.call.InferencePlane.ready`."""
        return not self._draining and self._repository.ready()

    def statuses(self) -> Sequence[ModelStatus]:
        """See :meth:`pillion.dataplane.call.InferencePlane.statuses`."""
        return self._repository.statuses()

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """See :meth:`pillion.dataplane.call.InferencePlane.status`."""
        return self._repository.status(name, version)

    def versions(self, name: str) -> tuple[str, ...]:
        """See :meth:`pillion.dataplane.call.InferencePlane.versions`."""
        return self._repository.versions(name)

    def statistics(self, name: str = "", version: str | None = None) -> Sequence[ModelStatistics]:
        """See :meth:`pillion.dataplane.call.InferencePlane.statistics`."""
        from pillion.dataplane.statistics import statistics_of  # noqa: PLC0415 - few ever ask

        if name:
            self.status(name, version)
        return statistics_of(self.statuses(), self._metrics, name, version)

    async def load(self, name: str) -> None:
        """See :meth:`pillion.dataplane.call.InferencePlane.load`."""
        await self._repository.load(name)

    async def unload(self, name: str) -> None:
        """See :meth:`pillion.dataplane.call.InferencePlane.unload`."""
        await self._repository.unload(name)

    async def add(self, model: DesiredModel, *, lazy: bool = False, keep: bool = False, guarded: bool = False) -> None:
        """See :meth:`pillion.repository.repository.ModelRepository.add`."""
        await self._repository.add(model, lazy=lazy, keep=keep, guarded=guarded)

    def alias(self, name: str, aliases: Mapping[str, str]) -> None:
        """See :meth:`pillion.repository.repository.ModelRepository.alias`."""
        self._repository.alias(name, aliases)

    def holds(self, name: str) -> bool:
        """See :meth:`pillion.repository.repository.ModelRepository.holds`."""
        return self._repository.holds(name)

    def resident(self, name: str) -> int:
        """See :meth:`pillion.repository.repository.ModelRepository.resident`."""
        return self._repository.resident(name)

    def answers(self, name: str) -> bool:
        """Whether a model of that name is here and takes requests; one that a request loads does."""
        try:
            status = self._repository.status(name)
        except PillionError:
            return False
        return status.state is ModelState.READY or status.asleep

    async def remove(self, name: str, versions: Collection[str]) -> None:
        """See :meth:`pillion.repository.repository.ModelRepository.remove`."""
        await self._repository.remove(name, versions)

    def added(self, name: str) -> tuple[str, ...]:
        """See :meth:`pillion.repository.repository.ModelRepository.added`."""
        return self._repository.added(name)

    def declares(self, name: str) -> bool:
        """See :meth:`pillion.repository.repository.ModelRepository.declares`."""
        return self._repository.declares(name)

    async def reconfigure(self, name: str, version: str, config: Mapping[str, Any]) -> int:
        """See :meth:`pillion.repository.repository.ModelRepository.reconfigure`."""
        return await self._repository.reconfigure(name, version, config)

    async def watch_health(self) -> None:
        """See :meth:`ModelRepository.watch_health`."""
        await self._repository.watch_health()

    async def apply(self, models: Sequence[DesiredModel]) -> None:
        """Make ``models`` the desired set; returns when each is loaded or has failed (see :meth:`statuses`)."""
        await self._repository.apply(models)

    @property
    def draining(self) -> bool:
        """Whether new work is refused."""
        return self._draining

    def in_flight(self) -> int:
        """Requests running or waiting now."""
        return self._in_flight

    def live(self) -> list[LiveRequest]:
        """Requests that wait or run now, the oldest first; those answered at once on the loop are never among them."""
        return live_requests(iter(self._by_served.values()), self._clock())

    async def start(self) -> None:
        """Ready to be used. Models are loaded by :meth:`apply`."""
        self._draining = False

    def drain(self) -> None:
        """Refuse new work from now on; what is in flight goes on."""
        self._draining = True

    async def stop(self, grace: float) -> None:
        """Drain, wait at most ``grace`` seconds for requests in flight, then end those in queues and close models."""
        self.drain()
        if self._in_flight and grace > 0:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace)
        for lane in list(self._by_served.values()):
            lane.fail_waiting(stopping)
        await self._repository.close()

    def gather(self, requests: int) -> None:
        """See :meth:`pillion.dataplane.call.InferencePlane.gather`."""
        self._gathering.begin(requests)

    def flush(self) -> None:
        """See :meth:`pillion.dataplane.call.InferencePlane.flush`."""
        self._gathering.flush()

    def _serve(self, served: Served, load_seconds: float) -> None:
        desired = served.desired
        metrics = self._metrics.model(desired.name, desired.version)
        metrics.load_seconds = load_seconds
        metrics.loads += 1
        lane = Lane(served, self._settings, metrics, self._clock, self._gathering, self)
        metrics.gauges.append(lane.gauges)
        self._by_served[served] = lane
        self._route()

    def _evicted(self, name: str, version: str) -> None:
        self._metrics.model(name, version).evictions += 1

    def _cut_off(self, served: Served) -> None:
        lane = self._by_served.pop(served, None)
        if lane is not None:
            lane.metrics.gauges.remove(lane.gauges)
            lane.fail_waiting(unloaded)

    def _route(self) -> None:
        lanes = self._by_served
        self._lanes = {key: lanes[served] for key, served in self._repository.serving().items() if served in lanes}
        self._offers = Offers(self._lanes, self._repository)

    def _refusal(self, request: InferRequest | ServedTask, call: Call, lane: Lane | None) -> PillionError:
        """Why a request cannot even be tried."""
        name, version = "", ""
        if self._draining:
            error = stopping()
        elif lane is not None:
            name, version = lane.served.desired.name, lane.served.desired.version
            self._metrics.limit_hit("limits.max_in_flight")
            error = full(self._in_flight, self._settings.max_in_flight)
        else:
            try:
                status = self._repository.status(request.model, request.version)
            except PillionError as unknown:
                error = unknown
            else:
                name, version = status.name, status.version
                error = not_ready(status)
        self._metrics.refused(call.protocol, error.code.value, name, version)
        return error
