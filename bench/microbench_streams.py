"""What an item of a stream costs on its way from a sync generator to the event loop.

``pump`` runs the generator in one thread and hands items over through the bounded buffer, as the server does; ``items``
takes a trip through the thread pool for each. ``python -m bench.microbench_streams`` prints microseconds an item.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import uvloop

from pillion.execution.stream import ItemBuffer, StreamRun
from pillion.execution.thread import ThreadExecutor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["main"]

_ITEMS = 20_000
_ROUNDS = 3


class _Whole:
    asynchronous = False

    def run(self, put: Callable[[Any], bool]) -> None:
        for _ in range(_ITEMS):
            put("word")

    def items_async(self) -> AsyncIterator[Any]:
        raise RuntimeError("it runs in a thread")


class _Next:
    def __init__(self) -> None:
        self._items = iter(["word"] * _ITEMS)
        self.over = False

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        del inputs, outputs, interrupt
        self.over = next(self._items, None) is None
        return []


async def _pump() -> None:
    buffer = ItemBuffer(asyncio.get_running_loop())
    pool = ThreadExecutor("pump", 1)
    driver = asyncio.create_task(pool.run(StreamRun(_Whole(), buffer), (), (), None))
    driver.add_done_callback(lambda _: buffer.end())
    while await buffer.take():
        pass
    pool.close()


async def _items() -> None:
    pool = ThreadExecutor("items", 1)
    call = _Next()
    while not call.over:
        await pool.run(call, (), (), None)
    pool.close()


def main() -> None:
    """Measure both in turns."""
    for _ in range(_ROUNDS):
        for name, measured in (("pump", _pump), ("items", _items)):
            wall, processor = time.perf_counter(), time.process_time()
            uvloop.run(measured())
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            print(f"{name:6} {wall / _ITEMS * 1e6:6.1f} us, {processor / _ITEMS * 1e6:6.1f} us of processor time")


if __name__ == "__main__":
    main()
