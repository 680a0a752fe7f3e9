"""The activator's listeners while it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from pillion_operator.activator.ports import Ports
from pillion_operator.activator.routes import Route

if TYPE_CHECKING:
    import pytest


def test_a_port_that_is_being_opened_while_all_are_closed_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        closed = False

        def close(self) -> None:
            self.closed = True

    async def story() -> None:
        ports, server = Ports("127.0.0.1", cast("Any", _Connections())), Server()

        async def start(*_: object, **__: object) -> Server:
            ports.close()
            return server

        monkeypatch.setattr(asyncio, "start_server", start)
        await ports.follow({20000: Route("shop", "iris-predictor", "http"), 20001: Route("shop", "x", "http")})

        assert server.closed
        assert {} == ports.open

    asyncio.run(story())


class _Connections:
    async def serve(self, *_: object) -> None:
        raise AssertionError("nobody comes")
