"""A plain HTTP front of the API server that can fail in the ways that real ones do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import TYPE_CHECKING

import aiohttp
import yaml
from aiohttp import web

from pillion_operator.client.connection import from_kubeconfig
from tests.integration.operator.beside import ServerBeside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_HOP = {"transfer-encoding", "connection", "content-length", "content-encoding", "keep-alive"}


class FaultyApiServer(ServerBeside):
    """Forwards every request with the administrator's rights, in a thread of its own; attributes switch faults on.

    silent: watches stay open and deliver nothing.
    gone: watches are ended, and new ones are answered 410, so that clients must list anew.
    down: every request is refused, and open watches are cut.
    broken: plural of a kind whose requests are answered 503, as of an aggregated API whose server is down.
    failing: share of writes that are answered 409, 429 or 500 instead of being forwarded.
    """

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__()
        self._info = from_kubeconfig(kubeconfig).login()
        self.silent = False
        self.gone = False
        self.down = False
        self.broken = ""
        self.failing = 0.0
        self.failed = 0
        self._random = random.Random(7)

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that leads to this front."""
        document = {
            "current-context": "proxy",
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "proxy", "user": {}}],
        }
        path = folder / "proxy.kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    async def _serve(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._info.as_ssl_context(), limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            app = web.Application(client_max_size=16 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self._forward)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port: int = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        watching = request.query.get("watch") == "true"
        if self.down or (self.broken and self.broken in request.path.split("/")):
            return self._status(503, "ServiceUnavailable")
        if watching and self.gone:
            return web.json_response({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
        lease = "/leases" in request.path
        if not lease and request.method in {"PATCH", "POST", "PUT", "DELETE"} and self._random.random() < self.failing:
            self.failed += 1
            code, reason = self._random.choice([(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError")])
            return self._status(code, reason)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP | {"host"}}
        url = f"{self._info.server}{request.rel_url}"
        body = await request.read()
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, timeout=aiohttp.ClientTimeout(total=None)
        ) as upstream:
            passed = {name: value for name, value in upstream.headers.items() if name.lower() not in _HOP}
            answer = web.StreamResponse(status=upstream.status, headers=passed)
            if not watching:
                content = await upstream.read()
                return web.Response(status=upstream.status, headers=passed, body=content)
            await answer.prepare(request)
            with contextlib.suppress(ConnectionResetError, aiohttp.ClientPayloadError):
                async for chunk in self._until_cut(upstream):
                    await answer.write(chunk)
            return answer

    async def _until_cut(self, upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        reading: asyncio.Task[bytes] | None = None
        try:
            while not (self.gone or self.down):
                if self.broken and self.broken in upstream.url.path.split("/"):
                    return
                if self.silent:
                    await asyncio.sleep(0.05)
                    continue
                reading = reading or asyncio.create_task(upstream.content.readany())
                done, _ = await asyncio.wait({reading}, timeout=0.05)
                if not done:
                    continue
                chunk, reading = reading.result(), None
                if not chunk:
                    return
                if not self.silent:
                    yield chunk
        finally:
            if reading is not None:
                reading.cancel()

    @staticmethod
    def _status(code: int, reason: str) -> web.Response:
        body = {"kind": "Status", "status": "Failure", "reason": reason, "message": f"injected {reason}", "code": code}
        return web.Response(status=code, text=json.dumps(body), content_type="application/json")
