"""An application on a real socket, in the test's own loop, whose calls a test can hold and see."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from pillion.socket import SocketApplication

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Held"]


class Held:
    """What was begun, cancelled and ended; calls of ``/held`` wait for their name."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._names: dict[str, asyncio.Event] = {}
        self.app = SocketApplication()
        routes: dict[str, Callable[..., Any]] = {
            "/echo": self.echo,
            "/double": self.double,
            "/nothing": self.nothing,
            "/fails": self.fails,
            "/odd": self.odd,
            "/held": self.held,
            "/unsendable": self.unsendable,
        }
        for path, function in routes.items():
            self.app.add_route(path, function)

    def let(self, name: str) -> None:
        """Let the calls of that name end."""
        self._event(name).set()

    def _event(self, name: str) -> asyncio.Event:
        return self._names.setdefault(name, asyncio.Event())

    async def echo(self, x: Any) -> Any:
        return x

    async def double(self, x: Any) -> Any:
        return 2 * x

    async def nothing(self) -> None:
        self.seen["nothing"] += 1

    async def fails(self, x: str) -> None:
        raise LookupError(f"no {x}")

    async def odd(self, x: int) -> int:
        if x % 2 == 0:
            raise ValueError(f"{x} is even")
        return x

    async def held(self, name: str) -> str:
        self.seen[f"{name} begun"] += 1
        try:
            await self._event(name).wait()
        except asyncio.CancelledError:
            self.seen[f"{name} cancelled"] += 1
            raise
        self.seen[f"{name} ended"] += 1
        return name

    async def unsendable(self) -> object:
        return object()
