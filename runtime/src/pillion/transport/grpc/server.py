"""The gRPC server: inference, tasks, jobs, management, health and reflection on one port."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

import grpc

from pillion.transport.grpc.limits import GrpcLimits
from pillion.transport.grpc.names import INFERENCE_SERVICE
from pillion.transport.grpc.on_demand import OnDemand
from pillion.transport.grpc.options import GrpcOptions
from pillion.transport.grpc.runtime_services import RUNTIME_PATH
from pillion.transport.grpc.tasks_on_demand import TasksOnDemand

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from pillion.dataplane.call import InferencePlane
    from pillion.dataplane.streams import TextPlane
    from pillion.dataplane.tasks import TaskPlane
    from pillion.transport.authentication import Callers
    from pillion.transport.grpc.engine import GrpcEngine, GrpcTls, UnixPlace
    from pillion.transport.grpc.guard import Guard
    from pillion.transport.grpc.runtime_services import RuntimeParts

__all__ = ["INFERENCE_SERVICE", "GrpcServer"]


class GrpcServer:
    """One listening gRPC server on the running event loop.

    Args:
        plane: what answers.
        limits: of messages, calls and connections.
        options: settings and collaborators.
        tasks: what answers tasks, where there can be any.
        texts: what generates, where anything can.
        runtime: what answers jobs, trainings and management, where there is any.
    """

    def __init__(
        self,
        plane: InferencePlane,
        limits: GrpcLimits | None = None,
        options: GrpcOptions | None = None,
        tasks: TaskPlane | None = None,
        texts: TextPlane | None = None,
        runtime: RuntimeParts | None = None,
    ) -> None:
        self._plane = plane
        self._runtime = runtime
        self._texts = texts
        self._options = options or GrpcOptions()
        self._engine = engine_of(self._options, limits or GrpcLimits())
        self._draining = False
        self._inference = OnDemand(f"/{INFERENCE_SERVICE}/", self._make_inference)
        self._health = OnDemand("/grpc.health.", self._make_health)
        self._task_services = None if tasks is None else TasksOnDemand(tasks, self._options, runtime)

    async def start(self, address: str, tls: GrpcTls | None = None, unix: UnixPlace | None = None) -> int:
        """Listen on ``host:port`` (port 0: any free one) and answer, on a unix socket as well; gives the port.

        Raises:
            OSError: the address cannot be bound.
        """
        key = self._options.api_key
        handlers: list[grpc.GenericRpcHandler] = [
            self._inference,
            self._health,
            OnDemand("/grpc.reflection.", self._make_reflection),
        ]
        runtime = self._runtime
        if runtime is not None:
            handlers.append(OnDemand(RUNTIME_PATH, lambda: runtime.handlers(self._options)))
        if self._task_services is not None:
            handlers.append(self._task_services)
        guard = None if key is None else self._make_guard(key)
        return await self._engine.start(address, tls, handlers, guard, unix)

    async def swap(self, context: ssl.SSLContext) -> None:
        """Serve another certificate from now on."""
        await self._engine.swap(context)

    async def warm_up(self) -> None:
        """Import what the first call would have to wait for, in a thread."""
        await asyncio.to_thread(_import)
        self._inference.made()
        self._health.made()

    def mark_draining(self) -> None:
        """Health says NOT_SERVING from now on. Calls are still answered; connections age out by themselves."""
        self._draining = True

    async def stop(self, grace: float) -> None:
        """Take no new calls; those in progress get ``grace`` seconds, then they are cancelled. Asked again, the shorter
        time counts.
        """
        await self._engine.stop(grace)

    def _make_guard(self, key: Callers) -> Guard:
        from pillion.transport.grpc.guard import Guard  # noqa: PLC0415 - only where there is a key

        return Guard(INFERENCE_SERVICE, key, self._plane)

    def _make_inference(self) -> Sequence[grpc.GenericRpcHandler]:
        from pillion.transport.grpc.infer import InferMethods  # noqa: PLC0415 - see OnDemand
        from pillion.transport.grpc.information import InformationMethods  # noqa: PLC0415 - see OnDemand

        # No (de)serializers: these methods take and give the messages' bytes.
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        if self._options.inference:
            infer = InferMethods(self._plane, self._options, self._texts)
            handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(infer.model_infer)
            handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(infer.model_stream_infer)
        information = InformationMethods(self._plane, self._options)
        for name, method in information.methods().items():
            handlers[name] = grpc.unary_unary_rpc_method_handler(method)
        passing = self._options.passing
        if passing is not None:
            handlers = {name: passing.wrap(name, handler) for name, handler in handlers.items()}
        return (grpc.method_handlers_generic_handler(INFERENCE_SERVICE, handlers),)

    def _make_health(self) -> Sequence[grpc.GenericRpcHandler]:
        from pillion.transport.grpc.health import Health  # noqa: PLC0415 - see OnDemand

        health = Health(self._plane, INFERENCE_SERVICE, self._options.health_poll, lambda: self._draining)
        return (health.handler(),)

    def _make_reflection(self) -> Sequence[grpc.GenericRpcHandler]:
        from pillion.transport.grpc.health import HEALTH_SERVICE  # noqa: PLC0415 - see OnDemand
        from pillion.transport.grpc.reflection import Reflection  # noqa: PLC0415 - see OnDemand

        own = () if self._runtime is None else self._runtime.services()
        return Reflection((INFERENCE_SERVICE, HEALTH_SERVICE, *own), self._task_services).handlers()


def engine_of(options: GrpcOptions, limits: GrpcLimits) -> GrpcEngine:
    """The engine of that name; the other is not imported."""
    if options.engine == "asyncio":
        from pillion.transport.grpc.http2.engine import AsyncioEngine  # noqa: PLC0415 - the default does without

        return AsyncioEngine(limits, options.bodies)
    from pillion.transport.grpc.grpcio import GrpcioEngine  # noqa: PLC0415 - as above

    return GrpcioEngine(limits)


def _import() -> None:
    for name in ("health", "infer", "information"):
        import_module(f"pillion.transport.grpc.{name}")
