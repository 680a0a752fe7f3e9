"""The HTTPS server that the API server asks about pods that are being made."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Self, cast

import msgspec
from aiohttp import web

from pillion.server.tls import TlsConfig, context_of, read
from pillion_operator.builders.admission import API_VERSION
from pillion_operator.state.manifest import text_at

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from pillion.resources.base import JsonObject
    from pillion_operator.builders.serving_certificate import Material

__all__ = ["PATH", "WebhookServer"]

_log: Final = logging.getLogger(__name__)
PATH: Final = "/sidecar"
#: etcd takes objects of 1.5 MiB.
_MOST_BYTES: Final = 8 * 1024 * 1024
#: The API server keeps idle connections for 90 s; one that we closed first could cost it the next request.
_KEEP_ALIVE_SECONDS: Final = 120.0


class WebhookServer:
    """Listens once it has a certificate; a new one serves the connections that come after it."""

    def __init__(self, host: str, port: int, answer: Callable[[JsonObject], Awaitable[JsonObject]]) -> None:
        self._address = (host, port)
        self._answer = answer
        self._certificate = ""
        self._context: ssl.SSLContext | None = None
        self._leaving = False
        self.listening = False
        """Whether the API server can ask."""

    async def __aenter__(self) -> Self:
        """Prepare; nothing listens yet."""
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_post(PATH, self._review)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=_KEEP_ALIVE_SECONDS)
        await self._runner.setup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening, once what has been asked is answered."""
        await self._runner.cleanup()

    def leave(self) -> None:
        """Ask whoever comes to come elsewhere next time."""
        self._leaving = True

    async def serve(self, material: Material) -> None:
        """Serve with that certificate from now on.

        Raises:
            TlsError: it cannot be served; the former one stays.
        """
        if material.certificate == self._certificate:
            return
        config = TlsConfig(material.certificate, material.key)
        found = read(config)
        context = context_of(config, found)
        self._context, self._certificate = context, material.certificate
        if not self.listening:
            # Each handshake is given the context of its time.
            context.sni_callback = self._current
            await web.TCPSite(self._runner, *self._address, ssl_context=context).start()
            self.listening = True
            _log.info("the webhook answers on port %d", self._runner.addresses[0][1])
        _log.info("the webhook serves a certificate", extra={"certificate": found.subject})

    def _current(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        del name, first
        if self._context is not None:
            connection.context = self._context

    async def _review(self, request: web.Request) -> web.Response:
        try:
            review = cast("JsonObject", msgspec.json.decode(await request.read(), type=dict))
        except msgspec.DecodeError:
            return web.Response(status=400, text="the body is no JSON object; send an AdmissionReview\n")
        if text_at(review, "apiVersion") != API_VERSION or not text_at(review, "request", "uid"):
            return web.Response(status=400, text=f"the body is no AdmissionReview of {API_VERSION} with a request\n")
        body = msgspec.json.encode(await self._answer(review))
        response = web.Response(body=body, content_type="application/json")
        if self._leaving:
            response.force_close()
        return response
