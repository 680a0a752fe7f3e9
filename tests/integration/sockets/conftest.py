"""A service on a unix socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion.socket import AsyncSocketClient, SocketServer
from tests.integration.sockets.service import Held

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.sock"


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def server(held: Held, path: Path) -> AsyncIterator[SocketServer]:
    async with SocketServer(held.app, path=path, grace_seconds=5) as running:
        yield running


@pytest.fixture
async def client(server: SocketServer, path: Path) -> AsyncIterator[AsyncSocketClient]:
    async with AsyncSocketClient(path=path) as connected:
        yield connected
