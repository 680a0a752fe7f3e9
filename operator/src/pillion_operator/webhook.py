"""The HTTPS server that the API server asks about pods that are being made."""

from __future__ import annotations

import asyncio
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
#: The API server takes manifests of 3 MiB, and its review adds little to one.
_MOST_BYTES: Final = 4 * 1024 * 1024
#: Reviews that are read at a time: what they have together is bounded, too.
_AT_A_TIME: Final = 16
#: How long a handshake may take, a first request until it is there, and a body: the API server waits five seconds.
_PATIENCE_SECONDS: Final = 5.0
#: The API server keeps idle connections for 90 s; one that we closed first could cost it the next request.
_KEEP_ALIVE_SECONDS: Final = 120.0


class WebhookServer:
    """Listens once it has a certificate; a new one serves the connections that come after it."""

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[JsonObject], Awaitable[JsonObject]],
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._address = (host, port)
        self._patience = patience
        self._answer = answer
        self._certificate = ""
        self._context: ssl.SSLContext | None = None
        self._leaving = False
        self._listener: asyncio.Server | None = None
        self._reading = asyncio.Semaphore(_AT_A_TIME)
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}

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
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()
        for timer in self._silent.values():
            timer.cancel()

    @property
    def listening(self) -> bool:
        """Whether the API server can ask."""
        return self._listener is not None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before."""
        port: int = self._listener.sockets[0].getsockname()[1] if self._listener is not None else 0
        return port

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
        if self._listener is None:
            # Each handshake is given the context of its time.
            context.sni_callback = self._current
            self._listener = await asyncio.get_running_loop().create_server(
                self._protocol, *self._address, ssl=context, ssl_handshake_timeout=self._patience
            )
            _log.info("the webhook answers on port %d", self.port)
        _log.info("the webhook serves a certificate", extra={"certificate": found.subject})

    def _current(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        del name, first
        if self._context is not None:
            connection.context = self._context

    def _protocol(self) -> asyncio.Protocol:
        """Return what handles one connection, which is ended where nothing has been asked on it for long."""
        if self._runner.server is None:
            raise RuntimeError("the webhook was not prepared")
        protocol = self._runner.server()
        # The handshake has its own time, and comes first.
        timer = asyncio.get_running_loop().call_later(self._patience * 2, self._end_silent, protocol)
        self._silent[protocol] = timer
        return protocol

    def _end_silent(self, protocol: web.RequestHandler) -> None:
        del self._silent[protocol]
        protocol.force_close()

    async def _review(self, request: web.Request) -> web.Response:
        timer = self._silent.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        try:
            async with asyncio.timeout(self._patience), self._reading:
                body = await request.read()
            review = cast("JsonObject", msgspec.json.decode(body, type=dict))
        except TimeoutError:
            response = web.Response(status=408, text=f"the review did not come within {self._patience:g} s\n")
            response.force_close()
            return response
        except msgspec.DecodeError:
            return web.Response(status=400, text="the body is no JSON object; send an AdmissionReview\n")
        if text_at(review, "apiVersion") != API_VERSION or not text_at(review, "request", "uid"):
            return web.Response(status=400, text=f"the body is no AdmissionReview of {API_VERSION} with a request\n")
        answer = msgspec.json.encode(await self._answer(review))
        response = web.Response(body=answer, content_type="application/json")
        if self._leaving:
            response.force_close()
        return response
