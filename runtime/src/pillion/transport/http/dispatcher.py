"""The ASGI app in front: inference, health, metadata and repository by one look-up, everything else to the fallback.

A route inside a web framework costs more than a small model's prediction. So the routes that clients call in a loop
are answered here, without middleware; documentation, management and whatever else a server offers lives in the
fallback app.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from pillion.dataplane.call import new_request_id
from pillion.errors import ErrorCode, PillionError
from pillion.route_prefix import below, rooted
from pillion.transport.http.answer import (
    Answer,
    send_answer,
)
from pillion.transport.http.body import ClientDisconnected
from pillion.transport.http.budget import hold
from pillion.transport.http.caller import Caller
from pillion.transport.http.compression import compressed, wanted_coding
from pillion.transport.http.direct_calls import BegunCall, Given, Ordinary, at_once
from pillion.transport.http.failures import failed
from pillion.transport.http.headers import ACCEPTED_MEDIA, SLOW_HEADERS, request_id
from pillion.transport.http.infer import Begun, InferHandler
from pillion.transport.http.job_routes import JobRoutes
from pillion.transport.http.oip import InformationHandler
from pillion.transport.http.options import DispatchOptions
from pillion.transport.http.routes import (
    INFERENCE_ROUTES,
    JOB_ROUTES,
    METHODS,
    TASK_ROUTES,
    TEXT_ROUTES,
    Route,
    resolve,
)
from pillion.transport.http.tasks import BegunTask, TaskHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.dataplane.call import InferencePlane
    from pillion.dataplane.streams import TextPlane
    from pillion.dataplane.tasks import TaskPlane
    from pillion.transport.http.application_access import Application, ApplicationAccess
    from pillion.transport.http.budget import HeldBytes
    from pillion.transport.http.direct import DirectAnswer, DirectCall
    from pillion.transport.http.handled import DirectHandler
    from pillion.transport.http.observation import HttpObserver
    from pillion.transport.http.routes import Target
    from pillion.transport.job_access import JobAccess
    from pillion.transport.observation import Observed

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Dispatcher", "path_of"]

_ANY_METHOD: Final = frozenset({Route.UNKNOWN, Route.SHARED_MEMORY})
_KEPT_PATHS: Final = 1024


class Dispatcher:
    """An ASGI 3 application.

    Args:
        plane: what answers.
        fallback: the ASGI app for every path that is not one of :class:`~pillion.transport.http.routes.Route`, and
            for every scope that is not HTTP (lifespan, WebSocket).
        options: settings and collaborators.
        tasks: what answers tasks, where there can be any.
        texts: what generates and embeds, where anything can.
        jobs: who takes jobs, where there can be any.
        applications: those that answer below paths of their own. They are looked at after the table of known paths, so
            that predictions do not pay for them.
    """

    def __init__(
        self,
        plane: InferencePlane,
        fallback: ASGIApp,
        options: DispatchOptions | None = None,
        tasks: TaskPlane | None = None,
        texts: TextPlane | None = None,
        jobs: JobAccess | None = None,
        applications: ApplicationAccess | None = None,
    ) -> None:
        self._plane = plane
        self._fallback = fallback
        self._applications = applications
        self._options = options or DispatchOptions()
        self._root = self._options.root_path
        self._drain = self._options.drain
        self._passing = self._options.passing
        self._budget = self._options.bodies
        self._compress_from = self._options.compress_min_bytes or sys.maxsize
        self._observer = _observer_of(self._options)
        self._choose = None if self._observer is None else self._observer.choose_prediction
        self._off = frozenset[Route]() if self._options.inference else INFERENCE_ROUTES
        self._known: dict[bytes, Target] = {}
        self._below: dict[bytes, Application] = {}
        """Applications by targets that have been asked for."""
        self._inference = InferHandler(plane, self._options)
        self._infer = self._inference.infer
        self._information = InformationHandler(plane, self._options)
        self._tasks = None if tasks is None else TaskHandler(tasks, self._options)
        self._texts = texts
        self._jobs = None if jobs is None or tasks is None else JobRoutes(jobs, tasks, self._options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection scope, as ASGI defines it."""
        if scope["type"] != "http":
            await self._converse(scope, receive, send)
            return
        target = self._known.get(scope["raw_path"]) if scope.get("raw_path") else None
        if target is None:
            known_as = None if scope.get("root_path") else scope.get("raw_path")
            scope = self.whole(scope)
            application = self.application(scope)
            if application is not None:
                await application(scope, receive, send)
                return
            target = self._resolve(scope, known_as)
            if target is None and self._passing is not None:
                target = self._passing.task(path_of(scope))
            if target is None:
                await self._fallback(scope, receive, send)
                return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._passing is not None and self._passing.takes(target):
            await self._passing(target, headers, scope, receive, send)
            return
        observed = None if self._observer is None else self._observer.choose(target, headers)
        await self._ordinary(target, headers, observed, scope, receive, send)

    def whole(self, scope: Scope) -> Scope:
        """The scope with its whole path, and where the server is published as its root."""
        return rooted(scope, self._root)

    def application(self, scope: Scope) -> ASGIApp | None:
        """The application that a whole scope is for, a request or a WebSocket; None where the runtime answers."""
        if self._applications is None:
            return None
        return self._applications.find(below(scope["path"], scope.get("root_path") or ""))

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket, or whatever else ASGI may bring."""
        if scope["type"] == "websocket":
            scope = self.whole(scope)
            application = self.application(scope)
            if application is not None:
                await application(scope, receive, send)
                return
            if self._tasks is not None and not self._off:
                await self._tasks.connect(path_of(scope), scope, receive, send)
                return
        await self._fallback(scope, receive, send)

    async def _ordinary(
        self,
        target: Target,
        headers: dict[bytes, bytes],
        observed: Observed | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """A request on one of our routes, by ASGI's messages."""
        held = hold(self._budget, headers, receive)
        if held is None:
            await self._handle(target, headers, observed, scope, receive, send, None)
            return
        try:
            await self._handle(target, headers, observed, scope, held.receive, send, held)
        finally:
            held.release()

    async def _handle(
        self,
        target: Target,
        headers: dict[bytes, bytes],
        observed: Observed | None,
        scope: Scope,
        receive: Receive,
        send: Send,
        held: HeldBytes | None,
    ) -> None:
        identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
        method: str = scope["method"]
        if observed is not None and self._observer is not None:
            receive = self._observer.reading(observed, headers, identity, receive)
        caller = Caller(identity, scope, observed, held)
        if target.route is Route.INFER and method == "POST":
            working = self._infer(target, headers, receive, caller)
        else:
            working = self._answer(target, method, headers, receive, caller)
        await self.finish(working, scope, send, target, identity, receive, observed)

    def handler(self, target: bytes) -> DirectHandler | None:
        """See :class:`~pillion.transport.http.handled.HandlerApplication`: plain paths below no root."""
        found = self._below.get(target)
        if found is None and self._applications is not None and not self._root:
            if target in self._known or not _is_plain(target):
                return None
            found = self._applications.find(target.partition(b"?")[0].decode("ascii"))
            if found is not None and len(self._below) < _KEPT_PATHS:
                self._below[target] = found
        return found

    def knows(self, target: bytes) -> bool:
        """See :class:`~pillion.transport.http.direct.DirectApplication`."""
        return target in self._known

    def begin(
        self,
        path: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        client: Callable[[], str] | None = None,
    ) -> DirectAnswer | DirectCall | None:
        """See :class:`~pillion.transport.http.direct.DirectApplication`: plain inference requests on a known path."""
        target = self._known.get(path)
        if target is None or (
            target.route is not Route.INFER and (target.route not in TASK_ROUTES or self._tasks is None)
        ):
            return None
        if self._passing is not None and self._passing.takes(target):
            return None
        fields = dict(headers)
        if not SLOW_HEADERS.isdisjoint(fields) or fields.get(b"content-type") not in ACCEPTED_MEDIA:
            return None
        if self._choose is not None:
            observed = self._choose(fields)
            if observed is not None:  # decided once: the ordinary way must not choose again
                return Ordinary(functools.partial(self._ordinary, target, fields, observed))
        identity = request_id(fields) if b"x-request-id" in fields else new_request_id()
        try:
            outcome: bytes | Answer | Begun | BegunTask | None
            if target.route is Route.INFER or self._tasks is None:
                outcome = self._inference.begin(target, fields, body, identity, client)
            else:
                outcome = self._tasks.begin(target, body, identity, client)
                if outcome is None:
                    return None
        except Exception as error:  # noqa: BLE001  # the boundary, as in finish
            return at_once(failed(error, identity, target), identity)
        asked = fields.get(b"accept-encoding", b"")
        if isinstance(outcome, (Begun, BegunTask)):
            return BegunCall(self, outcome, target, identity, asked)
        if (type(outcome) is Answer and outcome.events is not None) or self.compresses(outcome, asked):
            return BegunCall(self, Given(outcome), target, identity, asked)
        return at_once(outcome, identity)

    def compresses(self, outcome: bytes | Answer, asked: bytes) -> bool:
        """Whether an answer is large enough to be compressed, and its ``Accept-Encoding`` says that it may."""
        size = len(outcome) if isinstance(outcome, bytes) else outcome.size
        return size >= self._compress_from and wanted_coding(asked) is not None

    def gather(self, requests: int) -> None:
        """See :class:`~pillion.transport.http.direct.DirectApplication`."""
        self._plane.gather(requests)

    def flush(self) -> None:
        """See :class:`~pillion.transport.http.direct.DirectApplication`."""
        self._plane.flush()

    async def finish(
        self,
        working: Awaitable[Answer],
        scope: Scope,
        send: Send,
        target: Target,
        identity: str,
        receive: Receive | None = None,
        observed: Observed | None = None,
    ) -> None:
        """Await the answer, send it or what failed, and tell of it."""
        answer: Answer | None
        plain: Answer | None  # before it was compressed
        try:
            plain = answer = await working
            if answer.size >= self._compress_from:
                answer = await compressed(answer, scope["headers"])
        except ClientDisconnected:
            plain = answer = None
        except Exception as error:  # noqa: BLE001  # the boundary: the client gets the protocol's error shape
            plain = answer = failed(error, identity, target)
        if answer is not None and answer.events is not None and receive is not None:
            from pillion.transport.http.events import send_events  # noqa: PLC0415 - most servers stream nothing

            close = self._drain.draining
            answer.code = await send_events(send, receive, answer.events, answer, identity, close=close)
        elif answer is not None:
            head = scope["method"] == "HEAD"
            await send_answer(send, answer, identity, head=head, close=self._drain.draining)
        if observed is not None and self._observer is not None:
            self._observer.ended(observed, scope, target, identity, plain)

    def _resolve(self, scope: Scope, known_as: bytes | None) -> Target | None:
        path = path_of(scope)
        target = resolve(path)
        if target is not None and target.route in self._off:
            return None
        if target is None and self._jobs is not None:
            target = self._jobs.target(path)
            if target is not None:
                return target  # not kept: some name an id
        if target is None and self._tasks is not None and not self._off:
            target, known = self._tasks.target(path, scope["method"])
            if not known:
                return target
        # Only what leads somewhere is kept, so that made-up paths cannot fill the memory; mounted apps are not, as
        # their root differs from request to request.
        if target is not None and known_as is not None and len(self._known) < _KEPT_PATHS:
            self._known[known_as] = target
        return target

    async def _answer(
        self, target: Target, method: str, headers: dict[bytes, bytes], receive: Receive, caller: Caller
    ) -> Answer:
        if method not in METHODS[target.route] and target.route not in _ANY_METHOD:
            allowed = ", ".join(METHODS[target.route])
            raise PillionError(ErrorCode.METHOD_NOT_ALLOWED, f"{method} is not allowed here, only {allowed}")
        if self._tasks is not None and target.route in TASK_ROUTES:
            return await self._tasks.answer(target, headers, receive, caller)
        if self._jobs is not None and target.route in JOB_ROUTES:
            return await self._jobs.answer(target, method, headers, receive, caller)
        if self._texts is not None and target.route in TEXT_ROUTES:
            # Much to import for servers without a language model, which never get here.
            from pillion.transport.http.texts import answer_text  # noqa: PLC0415 - as said

            return await answer_text(self._texts, self._options, target, headers, receive, caller)
        if target.route is Route.ROUTES or target.route is Route.HEALTHZ:
            from pillion.transport.http.application_access import answer_about  # noqa: PLC0415 - as above

            return answer_about(target.route, self._applications, self._options.unready())
        if target.route is Route.V1_PREDICT:
            return await self._inference.predict(target, headers, receive, caller)
        if target.route is Route.V1_EXPLAIN:
            return await self._inference.explain(target, headers, receive, caller)
        if target.route is Route.INVOCATIONS:
            return await self._inference.invoke(target, headers, receive, caller)
        return await self._information.answer(target, headers, receive, caller)


def _observer_of(options: DispatchOptions) -> HttpObserver | None:
    """Who is told of requests; None where nobody wants to know anything, which costs nothing."""
    if options.on_answer is None and options.tracer is None and options.payloads is None:
        return None
    from pillion.transport.http.observation import HttpObserver  # noqa: PLC0415 - a start without any need not import it

    return HttpObserver(options)


def _is_plain(target: bytes) -> bool:
    """Whether it is a path, perhaps with a query: whole URLs, escapes and fragments are read on the ordinary way."""
    return target[:1] == b"/" and target.isascii() and b"%" not in target and b"#" not in target


def path_of(scope: Scope) -> str:
    """The path below the mount point, percent-decoded; an encoded slash does not start a new segment."""
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    if b"%" in raw and b"%2f" in raw.lower():
        path = "/".join(unquote(part).replace("/", "%2F") for part in raw.decode("latin-1").split("/"))
    return below(path, scope.get("root_path") or "")
