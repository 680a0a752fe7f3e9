"""How long a text that is whole waits for what its model says at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pillion.dataplane.completion import Completion

if TYPE_CHECKING:
    from pillion.dataplane.streams import ItemStream


class Stuck:
    """Gives a text with its stop, and then nothing, not even an end."""

    finished = False

    def __init__(self) -> None:
        self._items: list[list[object]] = [["once <end>"]]

    async def take(self) -> list[object]:
        """What there is."""
        return self._items.pop() if self._items else await asyncio.get_running_loop().create_future()

    def finish(self) -> None:
        """It is needed no more."""
        self.finished = True


async def test_a_text_that_is_whole_is_given_though_its_model_does_not_end() -> None:
    stream: Any = Stuck()
    given: ItemStream = stream

    text = await asyncio.wait_for(Completion(given, ["<end>"], told=True).text(), 60)

    assert "once " == text
    assert stream.finished
