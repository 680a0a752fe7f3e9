"""The way of one request through one loaded model: checks, slot, executor, answer."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from pillion.dataplane.admission import Admission, deadline_exceeded
from pillion.dataplane.batching import Batcher
from pillion.dataplane.byte_budget import ByteBudget, argument_bytes, tensor_bytes
from pillion.dataplane.call import InferResponse
from pillion.dataplane.gathering import BatchLimits, Item
from pillion.dataplane.live import LiveCall
from pillion.dataplane.ranks import Ranks
from pillion.dataplane.task_batches import TaskBatcher, TaskItem
from pillion.dataplane.validation import Binder
from pillion.errors import ErrorCode, PillionError
from pillion.execution.api import DeadlinePassedError
from pillion.execution.stream import StreamRun
from pillion.metrics import LaneGauges

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from pillion.authoring.batches import Batch
    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.text import TextMethods
    from pillion.backends.api import BatchModel, ExplainedModel, Predictor, StreamModel, TaskModel
    from pillion.dataplane.call import Call, InferRequest
    from pillion.dataplane.gathering import Gathering
    from pillion.dataplane.nested import ModelCall, OwnCode
    from pillion.dataplane.plane import DataPlane
    from pillion.dataplane.settings import PlaneSettings
    from pillion.dataplane.shared_calls import Shared, SharedCalls
    from pillion.execution.stream import ItemBuffer
    from pillion.metrics import ModelMetrics
    from pillion.repository.served import Served
    from pillion.runtimefile import ExecutionSettings
    from pillion.tensors import Tensor

__all__ = ["Lane", "model_failure"]

_log = logging.getLogger(__name__)
_LONGEST_MESSAGE: Final = 500


class Lane:
    """Everything that one loaded model needs to answer requests, found by a single lookup."""

    def __init__(
        self,
        served: Served,
        settings: PlaneSettings,
        metrics: ModelMetrics,
        clock: Callable[[], float],
        gathering: Gathering,
        plane: DataPlane | None = None,
    ) -> None:
        desired = served.desired
        execution = desired.execution
        self.served = served
        self.metrics = metrics
        self._alone = metrics.batches_of(1)
        self.live: dict[int, LiveCall] = {}
        """Calls that may wait, by the identity of their ``Call``."""
        self.label = f"{desired.name}/{desired.version}"
        self.tasks: Mapping[str, TaskSignature] = getattr(served.model, "tasks", {})
        together = execution.batching != "off" and hasattr(served.model, "begin_batch")
        shares = served.shares_calls or (together and any(task.batch is not None for task in self.tasks.values()))
        # What a shared call takes depends on its size, and a stream on how its reader reads.
        judged = not shares and not getattr(served.model, "streams", False)
        self.admission = Admission(
            self.label,
            capacity=execution.max_in_flight or served.threads,
            max_queue=settings.max_queue if execution.max_queue is None else execution.max_queue,
            clock=clock,
            shed_when=settings.shed_when,
            ranks=_ranks(execution, settings),
            adaptive=judged and _adaptive(execution, settings),
        )
        self._bytes = None if execution.max_bytes_in_flight is None else ByteBudget(execution.max_bytes_in_flight)
        self._batcher: Batcher | None = None
        if served.shares_calls:
            self._batcher = Batcher(served, self.admission, _limits(execution), metrics, clock, gathering, self.live)
        self._batchers: list[SharedCalls[Any]] = [] if self._batcher is None else [self._batcher]
        """All of them: of tensors, and of tasks."""
        self.gauges = LaneGauges(
            in_flight=self._running,
            queued=lambda: self.admission.queued,
            abandoned=lambda: served.executor.abandoned,
            workers=getattr(served.executor, "workers", None),
            limit=self._limit,
            shedding=lambda: self.admission.shedding is not None and self.admission.shedding.active,
        )
        self._name = desired.name
        self._version = desired.version
        self._timeout = execution.timeout_seconds or settings.timeout_seconds
        self._binder = Binder(served.model)
        self.text: TextMethods | None = getattr(served.model, "text", None)
        self._own_code = hasattr(served.model, "tasks")
        self._own: OwnCode | None = None
        """Where its code may call other models."""
        if self._own_code:
            from pillion.dataplane.nested import OwnCode  # noqa: PLC0415 - models that were fetched need none

            self._own = OwnCode(plane, desired.name)
        self._task_batchers: dict[TaskSignature, TaskBatcher] | None = {} if together else None
        """None where calls of tasks are never put together."""
        self._clock = clock

    def serve(self, request: InferRequest, call: Call, arrived: float) -> Coroutine[Any, Any, list[Tensor]]:
        """Compute the tensors for one request that reached the data plane at ``arrived`` (monotonic seconds).

        Raises:
            PillionError: now or when awaited, with the code that says why.
        """
        binder = self._binder
        inputs = binder.inputs(request.inputs)
        wanted = binder.outputs(request.outputs)
        batcher = self._batcher
        if batcher is not None and not batcher.needless:
            item = Item(inputs, wanted, self._deadline(call, arrived), arrived, call)
            working = self._share(batcher, item)
        else:
            if batcher is not None:
                self.metrics.batch_size.observe(1)
            working = self._work(self.served.model, inputs, wanted, call, arrived)
        return working if self._bytes is None else self._bytes.held(tensor_bytes(inputs), self.label, working)

    def perform(
        self, task: TaskSignature, arguments: Mapping[str, Any], call: Call, arrived: float
    ) -> Coroutine[Any, Any, Any]:
        """The same for one call of a task of the model; gives what the method gave, as plain data.

        Raises:
            PillionError: with the code that says why.
        """
        working = self._perform(task, arguments, call, arrived)
        held = self._bytes
        return working if held is None else held.held(argument_bytes(arguments), self.label, working)

    async def _perform(self, task: TaskSignature, arguments: Mapping[str, Any], call: Call, arrived: float) -> Any:  # noqa: ANN401 - plain value
        if self._task_batchers is not None and task.batch is not None:
            batcher = self._task_batchers.get(task) or self._batcher_of(task, task.batch)
            item = TaskItem(arguments, self._deadline(call, arrived), arrived, call)
            return await self._share(batcher, item)
        run = cast("TaskModel", self.served.model).begin(task, arguments)
        await self._work(run, (), (), call, arrived)
        return run.value

    def _batcher_of(self, task: TaskSignature, declared: Batch) -> TaskBatcher:
        execution = self.served.desired.execution
        limits = msgspec.structs.replace(
            declared,
            max_size=execution.max_batch_size or declared.max_size,
            max_delay_seconds=execution.max_batch_delay_seconds or declared.max_delay_seconds,
        )
        _log.info(
            "model %s: task %s takes up to %d calls at once (%s), and waits %g s for more (%s)",
            self.label, task.name,
            limits.max_size, "execution.maxBatchSize" if execution.max_batch_size else "@task(batch=...)",
            limits.max_delay_seconds,
            "execution.maxBatchDelaySeconds" if execution.max_batch_delay_seconds else "@task(batch=...)",
        )  # fmt: skip
        batcher = TaskBatcher(
            task, limits, self.served, self.admission, self.metrics, self._clock, self.live,
            leave=self._leave, begin=partial(cast("BatchModel", self.served.model).begin_batch, task),
            own=self._own,
        )  # fmt: skip
        self._batchers.append(batcher)
        if self._task_batchers is not None:
            self._task_batchers[task] = batcher
        return batcher

    async def explain(self, request: InferRequest, call: Call, arrived: float) -> Any:  # noqa: ANN401 - plain value
        """Why the model predicts what it predicts for that request, as plain data.

        Raises:
            PillionError: with the code that says why not.
        """
        run = cast("ExplainedModel", self.served.model).begin_explanation()
        inputs = self._binder.inputs(request.inputs)
        working = self._work(run, inputs, (), call, arrived)
        held = self._bytes
        await (working if held is None else held.held(tensor_bytes(inputs), self.label, working))
        return run.value

    async def stream(
        self, task: TaskSignature, arguments: Mapping[str, Any], call: Call, arrived: float, buffer: ItemBuffer
    ) -> None:
        """The same for a call whose items go into ``buffer`` one by one; ends when the model's code has.

        Raises:
            PillionError: with the code that says why.
        """
        source = cast("StreamModel", self.served.model).stream(task, arguments)
        working = self._work(StreamRun(source, buffer), (), (), call, arrived)
        held = self._bytes
        await (working if held is None else held.held(argument_bytes(arguments), self.label, working))

    def _work(
        self, model: Predictor, inputs: Sequence[Tensor | None], wanted: tuple[str, ...], call: Call, arrived: float
    ) -> Coroutine[Any, Any, list[Tensor]]:
        if self._own is None:
            return self._run(model, inputs, wanted, call, arrived, self._clock())
        own = self._own.call(model, call, self._deadline(call, arrived))
        return self._run(own, inputs, wanted, call, arrived, self._clock(), own)

    async def _run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        wanted: tuple[str, ...],
        call: Call,
        arrived: float,
        prepared: float,
        own: ModelCall | None = None,
    ) -> list[Tensor]:
        deadline = self._deadline(call, arrived) if own is None else own.deadline
        if deadline is not None and deadline <= arrived:
            raise deadline_exceeded("before the request arrived")
        clock = self._clock
        admission = self.admission
        started = arrived
        executor = self.served.executor
        slot = not executor.immediate
        if slot:
            live = self.live[id(call)] = LiveCall(call, arrived, deadline)  # the plane takes it out again
            if not admission.try_enter():
                await admission.enter(deadline, call.priority, call.client)
                started = clock()
                self.metrics.queue_wait.observe(started - arrived)
                if deadline is not None and deadline <= started:
                    admission.leave()
                    raise deadline_exceeded("while the request was waiting in the queue")
            live.started = started
        try:
            results = await executor.run(model, inputs, wanted, None if deadline is None else deadline - started)
        except DeadlinePassedError:
            admission.rate.late(clock() - started)
            raise deadline_exceeded("while the model was running") from None
        except (PillionError, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a model may raise anything, even sys.exit(), or a panic of Rust's
            raise self._failure(error, call) from None
        finally:
            if own is not None:
                own.end()
            if call.times is not None:
                call.times.computed(started, clock())
            if slot:
                self._leave()
        ended = clock()
        elapsed = ended - started
        admission.rate.add(elapsed)
        self.metrics.inference.observe(elapsed)
        alone = self._alone
        alone.runs += 1
        alone.prepared += prepared - arrived
        # Where it did not wait it began as it arrived, and its inputs were made ready after that.
        alone.computed += ended - max(started, prepared)
        if deadline is not None and deadline < ended:
            raise deadline_exceeded("while the model was running")
        return results

    def _leave(self) -> None:
        """Hand the slot of a call on."""
        admission = self.admission
        admission.leave()
        # Slots handed on one by one would keep the queue alive for ever: each request would find one before it.
        if self.served.executor.immediate and admission.queued:
            admission.admit_waiting()

    async def _share(self, batcher: SharedCalls[Shared], item: Shared) -> Any:  # noqa: ANN401 - as the kind's calls give
        """The same with other requests, in one call of the model."""
        deadline = item.deadline
        if deadline is not None and deadline <= item.arrived:
            raise deadline_exceeded("before the request arrived")
        if self._own is not None:
            self._own.check(item.call)
        batcher.add(item)
        try:
            results = await item.future
        except PillionError:
            raise
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            raise self._failure(error, item.call) from None
        finally:
            batcher.left(item)
        if deadline is not None and deadline < self._clock():
            raise deadline_exceeded("while the model was running")
        return results

    def fail_waiting(self, error: Callable[[], PillionError]) -> None:
        """End every waiting request with an error of its own."""
        self.admission.fail_waiting(error)
        for batcher in self._batchers:
            batcher.fail_waiting(error)

    def _limit(self) -> int | None:
        """Calls that may run at a time; None where none runs outside of the event loop."""
        return None if self.served.executor.immediate else self.admission.capacity

    def _running(self) -> int:
        """Requests that are being computed."""
        return self.admission.running + sum(batcher.extra for batcher in self._batchers)

    def answer(self, request: InferRequest, results: list[Tensor]) -> InferResponse:
        """The response to a request, of the tensors computed for it."""
        response = InferResponse(self._name, self._version, results, request.id)
        if request.classes:
            response.labels = self.served.metadata.labels
        return response

    def _deadline(self, call: Call, arrived: float) -> float | None:
        """The sooner of the request's deadline and the model's."""
        if self._timeout is None or call.background:
            return call.deadline
        own = arrived + self._timeout
        return own if call.deadline is None or call.deadline > own else call.deadline

    def _failure(self, error: BaseException, call: Call) -> PillionError:
        failure = model_failure(error, self.label)
        known = {"request_id": call.request_id, "model": self._name, "version": self._version}
        if call.times is not None and call.times.trace_id:
            known["trace_id"] = call.times.trace_id
        if failure.code is ErrorCode.MODEL_FAILED:
            _log.error("model %s failed: %s", self.label, failure.message, exc_info=error, extra=known)
        elif self._own_code and isinstance(error, TypeError):
            # From a user's own code it is more often a mistake to be found than an input to be refused.
            _log.warning("model %s refused its input: %s", self.label, failure.message, exc_info=error, extra=known)
        else:
            _log.info("model %s refused its input: %s", self.label, failure.message, extra=known)
        return failure


def _ranks(execution: ExecutionSettings, settings: PlaneSettings) -> Ranks:
    if execution.priority_levels is not None:
        return Ranks(execution.priority_levels, execution.default_priority)
    return Ranks(settings.priority_levels, settings.default_priority)


def _adaptive(execution: ExecutionSettings, settings: PlaneSettings) -> bool:
    return settings.adaptive if execution.concurrency is None else execution.concurrency == "auto"


def _limits(execution: ExecutionSettings) -> BatchLimits:
    usual = BatchLimits()
    return BatchLimits(
        execution.max_batch_size or usual.rows,
        execution.max_batch_bytes or usual.bytes,
        execution.max_batch_delay_seconds,
    )


def model_failure(error: BaseException, label: str) -> PillionError:
    """What the caller is told of an exception that a model's code raised: one bounded line, never a traceback.

    ``ValueError`` and ``TypeError`` are how models say that the input is at fault; anything else is the model's.
    """
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_MESSAGE:
        text = text[: _LONGEST_MESSAGE - 3] + "..."
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, (ValueError, TypeError)):
        return PillionError(ErrorCode.INVALID_ARGUMENT, f"model {label} refused the input: {line}", field="inputs")
    return PillionError(ErrorCode.MODEL_FAILED, f"model {label} failed: {line}", remedy="see the server's log")
