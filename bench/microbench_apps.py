"""Processor time of a request of a raw handler against bare uvicorn: ``python bench/microbench_apps.py``.

Both protocols run in this process, in turns, on a transport that drops what is written: no sockets, so that a busy
machine moves the figures little.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import uvloop
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.servers import apps_raw, limit_raw
from pillion.embedding import server_settings
from pillion.metrics import Collectors
from pillion.server.metrics import ServerMetrics
from pillion.server.runtime import Runtime
from pillion.serving_targets import wanted
from pillion.transport.http.direct import DirectHttpProtocol
from pillion.transport.http.engine import EngineState
from pillion.transport.http.limits import HttpLimits

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 12
REQUESTS = 3200
CONNECTIONS = 16
_BODY = b'{"count": 3, "price": 1.5}'
_DATE = (b"date", b"Thu, 26 Nov 2026 18:00:00 GMT")


class Nowhere:
    """A transport that drops what is written."""

    def get_extra_info(self, key: str, default: object = None) -> object:
        """Addresses."""
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(key, default)

    def write(self, data: bytes) -> None:
        """Keep the last."""
        self.last = data

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing."""

    pause_reading = resume_reading = close


def _request(path: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
    return head.encode() + _BODY


async def _ours(target: object) -> tuple[Runtime, Callable[[], Any]]:
    what, registry, loaded = wanted((target,), route_prefix="/shop"), Collectors(), asyncio.Event()
    runtime = Runtime(
        server_settings("127.0.0.1", {}, {}, quiet=True), (), None, None, registry, ServerMetrics(registry),
        applications=what.applications, objects=what.objects, listens=False,
    )  # fmt: skip
    await runtime.start(lambda _: loaded.set())
    await loaded.wait()
    config = Config(runtime.app, http=DirectHttpProtocol, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = EngineState(HttpLimits(), lambda _: None)
    state.default_headers = [_DATE]
    return runtime, lambda: DirectHttpProtocol(config, state, asyncio.get_running_loop())


def _bare(app: Any) -> Callable[[], Any]:  # noqa: ANN401 - ASGI's
    config = Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    state.default_headers = [_DATE, (b"server", b"uvicorn")]
    return lambda: HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())


async def _round(make: Callable[[], Any], data: bytes) -> float:
    """Microseconds of processor time for each request."""
    connections = [(make(), Nowhere()) for _ in range(CONNECTIONS)]
    for protocol, transport in connections:
        protocol.connection_made(transport)
    began = time.process_time()
    for _ in range(REQUESTS // CONNECTIONS):
        for protocol, _ in connections:
            protocol.data_received(data)
        while any(protocol.tasks for protocol, _ in connections):  # noqa: ASYNC110 - sets of uvicorn: nothing to wait for
            await asyncio.sleep(0)
    spent = time.process_time() - began
    for protocol, _ in connections:
        protocol.connection_lost(None)
    return spent / REQUESTS * 1e6


async def main() -> None:
    """Measure."""
    _, ours = await _ours(apps_raw.echo)
    bare = _bare(limit_raw.application)
    gc.collect()
    gc.freeze()
    rounds = [(await _round(ours, _request("/shop/x")), await _round(bare, _request("/x"))) for _ in range(ROUNDS)]
    print(
        f"raw handler: {min(row[0] for row in rounds):.1f} us, bare {min(row[1] for row in rounds):.1f} us;"
        f" {min(row[1] for row in rounds) / min(row[0] for row in rounds):.2f} of the limit by the best round,"
        f" {median(row[1] / row[0] for row in rounds):.2f} by the median of {ROUNDS}"
    )


if __name__ == "__main__":
    uvloop.run(main())
