"""Our socket server and client for :mod:`bench.sockets`.

``python socket_echo.py alternate CALLS`` asks one server over a unix socket and over TCP by turns, call by call, so
that both see the same machine.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.process import free_port
from bench.socket_measures import ROW, main
from pillion.socket import SocketApplication, SocketClient, SocketServer


def _at(where: str) -> dict[str, Any]:
    return {"port": int(where)} if where.isdigit() else {"path": where}


def serve(*where: str) -> None:
    """Serve until killed."""
    app = SocketApplication()

    @app.route("/echo")
    async def echo(x: list[float]) -> list[float]:
        return x

    async def everywhere() -> None:
        await asyncio.gather(*(SocketServer(app, **_at(one)).serve() for one in where))

    asyncio.run(everywhere())


def client(where: str) -> SocketClient:
    """A client of that."""
    return SocketClient(**_at(where))


def alternate(calls: int) -> None:
    """Print the median of each way."""
    with tempfile.TemporaryDirectory() as folder:
        where = {"unix_us": str(Path(folder) / "s"), "tcp_us": str(free_port())}
        server = subprocess.Popen([sys.executable, __file__, "serve", *where.values()])
        try:
            with client(where["unix_us"]) as unix, client(where["tcp_us"]) as tcp:
                times: dict[str, list[float]] = {"unix_us": [], "tcp_us": []}
                for _ in range(calls):
                    for name, one in (("unix_us", unix), ("tcp_us", tcp)):
                        began = time.perf_counter()
                        one.request("/echo", ROW)
                        times[name].append(time.perf_counter() - began)
            print(json.dumps({name: median(taken) * 1e6 for name, taken in times.items()}))
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1] == "alternate":
        alternate(int(sys.argv[2]))
    elif sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        main(serve, client)
