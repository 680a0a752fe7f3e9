"""mpservice's socket server and client for :mod:`bench.sockets`; run by the peer's interpreter."""

from __future__ import annotations

import asyncio

from mpservice.socket import SocketApplication, SocketClient, SocketServer

from bench.socket_measures import main


def _at(where: str):
    return {"host": "127.0.0.1", "port": int(where)} if where.isdigit() else {"path": where}


async def echo(x):
    """What it gets."""
    return x


def serve(where: str) -> None:
    """Serve until killed."""
    app = SocketApplication()
    app.add_route("/echo", echo)
    asyncio.run(SocketServer(app, **_at(where)).serve())


def client(where: str):
    """A client of that."""
    return SocketClient(**_at(where))


if __name__ == "__main__":
    main(serve, client)
