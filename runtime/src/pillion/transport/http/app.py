"""The application behind the dispatcher, imported only when somebody asks for it.

FastAPI costs more to import than a small model costs to load, and a pod that only predicts never needs it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pillion.dataplane.call import new_request_id
from pillion.errors import ErrorCode, PillionError
from pillion.exposure import exposed
from pillion.route_prefix import below
from pillion.transport.http.answer import Answer, error_answer, send_answer
from pillion.transport.management_access import MANAGEMENT_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from pillion.authoring.project import Project
    from pillion.dataplane.call import InferencePlane
    from pillion.dataplane.streams import TextPlane
    from pillion.dataplane.tasks import TaskPlane
    from pillion.metrics import Registry
    from pillion.transport.job_access import JobAccess

__all__ = ["Fallback"]


class Fallback:
    """Everything that the dispatcher does not answer.

    The FastAPI application is built with the first such request, in a thread, so that predictions go on meanwhile.

    Args:
        plane: whose models the OpenAPI document describes.
        admin_port: told to those who look for metrics here.
        tasks: whose tasks it describes, where there can be any.
        texts: what generates and embeds, which it describes where anything does.
        metrics: shown here as on the admin port; None where that alone has them.
        management: makes what answers the paths of model management, with the first request to one.
        manages: whether models may be changed by it, as its settings are now.
        jobs: which jobs there are, which it describes.
        project: looks up whose models are served.
        inference: whether they compute for requests.
    """

    def __init__(
        self,
        plane: InferencePlane,
        admin_port: int,
        tasks: TaskPlane | None = None,
        texts: TextPlane | None = None,
        metrics: Registry | None = None,
        management: Callable[[], ASGIApp] | None = None,
        jobs: JobAccess | None = None,
        project: Callable[[], Project | None] = lambda: None,
        *,
        manages: bool = False,
        inference: bool = True,
    ) -> None:
        self._inference = inference
        self._changes = manages if management is not None else None
        self._manages: ASGIApp | None = None
        self._management = management
        self._jobs = jobs
        self._project = project
        self._metrics = metrics
        self._plane = plane
        self._texts = texts
        self._admin_port = admin_port
        self._tasks = tasks
        self._app: ASGIApp | None = None
        self._building = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = below(scope["path"], scope.get("root_path") or "") if scope["type"] == "http" else ""
        if self._metrics is not None and path == "/metrics":
            await _show(self._metrics, scope, send)
            return
        if self._management is not None and path.rstrip("/") in MANAGEMENT_PATHS:
            if self._manages is None:
                self._manages = self._management()
            await self._manages(scope, receive, send)
            return
        async with self._building:
            if self._app is None:
                self._app = await asyncio.to_thread(
                    _build,
                    self._plane,
                    self._admin_port,
                    self._tasks,
                    self._texts,
                    self._changes,
                    self._jobs,
                    self._project,
                    self._inference,
                )
        await self._app(scope, receive, send)


async def _show(registry: Registry, scope: Scope, send: Send) -> None:
    """Metrics, without the web framework that everything else here needs."""
    if scope["method"] not in ("GET", "HEAD"):
        error = PillionError(ErrorCode.METHOD_NOT_ALLOWED, f"{scope['method']} is not allowed here, only GET, HEAD")
        identity = new_request_id()
        await send_answer(send, error_answer(error, identity), identity, head=False, close=False)
        return
    headers: dict[bytes, bytes] = dict(scope["headers"])
    status, media, body = exposed(registry, headers.get(b"accept", b"").decode("latin-1"))
    answer = Answer(body, status=status, content_type=media.encode(), headers=((b"cache-control", b"no-store"),))
    await send_answer(send, answer, new_request_id(), head=scope["method"] == "HEAD", close=False)


def _build(
    plane: InferencePlane,
    admin_port: int,
    tasks: TaskPlane | None,
    texts: TextPlane | None,
    manages: bool | None,  # noqa: FBT001 - handed on
    jobs: JobAccess | None,
    project: Callable[[], Project | None],
    inference: bool,  # noqa: FBT001 - handed on
) -> ASGIApp:
    from pillion.transport.http.documentation import create_app  # noqa: PLC0415 - see the module's docstring

    return create_app(plane, admin_port, tasks, texts, manages, jobs, project, inference=inference)
