"""`/metrics`, `/livez` and `/readyz` on one port."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from aiohttp import web
from prometheus_client import generate_latest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from prometheus_client import CollectorRegistry

__all__ = ["ProbeServer"]


class ProbeServer:
    """Answers probes with what the checks say: an empty text means well. An asynchronous context manager.

    `documents` are further paths, and what is answered there as JSON.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        *,
        live: Callable[[], str],
        ready: Callable[[], str],
        documents: Mapping[str, Callable[[], object]] = MappingProxyType({}),
    ) -> None:
        self._address = (host, port)
        self._registry = registry
        self._live = live
        self._ready = ready
        self._documents = documents

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._answer(self._live))
        app.router.add_get("/readyz", self._answer(self._ready))
        for path, read in self._documents.items():
            app.router.add_get(path, self._document(read))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._runner.addresses[0][1]
        return port

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    @staticmethod
    def _document(read: Callable[[], object]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.json_response(read())

        return answer

    @staticmethod
    def _answer(check: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.StreamResponse:
            wrong = check()
            return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

        return answer
