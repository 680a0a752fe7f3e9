"""The Open Inference Protocol's routes that are not inference: health, metadata, repository; and those of V1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.dataplane.call import ModelState
from pillion.errors import ErrorCode, PillionError
from pillion.protocol import documents
from pillion.protocol.json_errors import decode_json
from pillion.protocol.parameters import NO_SHARED_MEMORY
from pillion.transport.http.answer import Answer, error_answer, json_answer
from pillion.transport.http.body import read_body
from pillion.transport.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.call import InferencePlane
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["InformationHandler"]

_SMALL_BODY: Final = 64 * 1024
_LATER: Final = {
    Route.GENERATE: "nothing here generates text; use POST /v2/models/{model}/infer",
    Route.GENERATE_STREAM: "nothing here generates text; use POST /v2/models/{model}/infer",
}


class _IndexBody(msgspec.Struct):
    ready: bool = False


_INDEX: Final = msgspec.json.Decoder(_IndexBody)


class InformationHandler:
    """Answers what the data plane knows of itself, and management where it is switched on."""

    def __init__(self, plane: InferencePlane, options: DispatchOptions) -> None:
        self._plane = plane
        self._options = options

    async def answer(self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller) -> Answer:
        """Answer any route but inference.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        match target.route:
            case Route.LIVE:
                return json_answer({"live": True})
            case Route.READY | Route.MODEL_READY:
                return self._ready(target, caller.request_id)
            case Route.ROOT:
                return json_answer(documents.root_document(self._plane.statuses()))
            case Route.SERVER:
                return json_answer(documents.server_document())
            case Route.MODELS:
                return json_answer({"models": documents.names(self._plane.statuses())})
            case Route.V1_MODELS:
                return json_answer(documents.models_document(self._plane.statuses()))
            case Route.MODEL | Route.CONFIG:
                return self._model(target)
            case Route.V1_MODEL:
                return json_answer(documents.v1_model_document(self._plane.status(target.model)))
            case Route.INDEX:
                return await self._index(receive)
            case Route.LOAD | Route.UNLOAD:
                return await self._manage(target, headers, caller)
            case Route.STATS:
                from pillion.protocol.statistics import statistics_document  # noqa: PLC0415 - few ever ask

                return json_answer(statistics_document(self._plane.statistics(target.model, target.version)))
            case _:
                return self._refuse(target)

    async def _index(self, receive: Receive) -> Answer:
        body = await read_body(receive, await receive(), {}, _SMALL_BODY)
        wanted = decode_json(_INDEX.decode, body) if len(body) else _IndexBody()
        return json_answer(documents.index_entries(self._plane.statuses(), ready_only=wanted.ready))

    def _ready(self, target: Target, request_id: str) -> Answer:
        if target.route is Route.MODEL_READY:
            return self._model_ready(target, request_id)
        if self._plane.ready():
            return json_answer({"ready": True})
        waiting = [status for status in self._plane.statuses() if status.state is not ModelState.READY]
        if self._options.drain.draining:
            error = PillionError(ErrorCode.DRAINING, "The server is stopping")
        elif waiting:
            listed = ", ".join(f"{status.name} ({status.state.value})" for status in waiting[:10])
            error = PillionError(ErrorCode.NOT_READY, f"Models not ready: {listed}")
        else:
            error = PillionError(ErrorCode.NOT_READY, "No model is loaded")
        return error_answer(error, request_id)

    def _model_ready(self, target: Target, request_id: str) -> Answer:
        status = self._plane.status(target.model, target.version)
        if status.state is ModelState.READY or status.asleep:
            return json_answer({"name": status.name, "ready": True})
        message = f"Model {status.name!r} is not ready: {status.reason or status.state.value.lower()}"
        return error_answer(PillionError(ErrorCode.NOT_READY, message), request_id)

    def _model(self, target: Target) -> Answer:
        if target.route is Route.CONFIG:
            return self._config(target)
        status = self._plane.status(target.model, target.version)
        return json_answer(documents.model_document(status, self._plane.versions(target.model)))

    def _config(self, target: Target) -> Answer:
        from pillion.protocol.model_config import config_document  # noqa: PLC0415 - few ever ask

        status = self._plane.status(target.model, target.version)
        return json_answer(config_document(status, self._options.codec.max_elements))

    async def _manage(self, target: Target, headers: Mapping[bytes, bytes], caller: Caller) -> Answer:
        from pillion.management.audit import Who, audited  # noqa: PLC0415 - most servers never need it
        from pillion.transport.http.managed import admitted  # noqa: PLC0415 - as above

        loads = target.route is Route.LOAD
        action = "load" if loads else "unload"
        who = Who(caller.client(), request_id=caller.request_id)
        who = admitted(self._options.management, headers, action, target.model, who)
        with audited(action, target.model, who):
            await (self._plane.load if loads else self._plane.unload)(target.model)
        return json_answer({"name": target.model, "load": loads})

    def _refuse(self, target: Target) -> Answer:
        if target.route is Route.UNKNOWN:
            raise PillionError(
                ErrorCode.NOT_FOUND,
                "There is no such route below /v2",
                remedy="GET / lists models and links; inference is POST /v2/models/{model}/infer",
            )
        if target.route is Route.SHARED_MEMORY:
            raise PillionError(ErrorCode.UNIMPLEMENTED, NO_SHARED_MEMORY)
        self._plane.status(target.model, target.version)
        raise PillionError(ErrorCode.UNIMPLEMENTED, _LATER[target.route])
