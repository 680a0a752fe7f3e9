"""A generated text as it comes: pieces joined, cut where it is to stop, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.authoring.finish import Finish
from pillion.errors import PillionError
from pillion.stopping import StopFinder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.dataplane.streams import ItemStream

__all__ = ["Completion"]

_MOST_AFTER_STOP: Final = 64
"""Items that are waited for after a text was cut; a model that was told where to end gives one or two."""
_LONGEST_AFTER_STOP: Final = 1.0
"""Seconds for these: the text is whole, and its client waits."""


class Completion:
    """One text of a model that generates.

    Args:
        stream: of its ``generate``; the first item is there.
        stops: texts before which it is cut.
        told: whether the model was told these, too, and ends at them by itself.
    """

    def __init__(self, stream: ItemStream, stops: Sequence[str] = (), *, told: bool = False) -> None:
        self.stream = stream
        self._told = told
        self._finder = StopFinder(stops)
        self._finish = Finish()
        self._over = False

    async def take(self) -> list[str]:
        """The pieces that have come since, none of them empty; none at the end.

        Raises:
            PillionError: the stream failed; what came before that has been given.
        """
        shown: list[str] = []
        while not shown and not self._over:
            items = await self.stream.take()
            for item in items:
                if isinstance(item, Finish):
                    # What a model says beyond the cut that it knows nothing of depends on how far ahead it is.
                    if self._told or not self._finder.found:
                        self._finish = item
                elif not self._finder.found:
                    shown.append(self._finder.feed(item))
            if not items:
                self._over = True
                shown.append(self._finder.rest())
            elif self._finder.found:
                self._over = True
                if self._told:
                    await self._settle(items)
                self.stream.finish()
            shown = [piece for piece in shown if piece]
        return shown

    async def _settle(self, items: Sequence[object]) -> None:
        """Wait for what a model that ends here says at its end: what the text has cost."""
        left = _MOST_AFTER_STOP
        # The text is whole, whatever happens after it.
        with contextlib.suppress(PillionError, TimeoutError):
            async with asyncio.timeout(_LONGEST_AFTER_STOP):
                while items and left > 0 and not isinstance(items[-1], Finish):
                    items = await self.stream.take()
                    left -= len(items)
                    self._finish = next((item for item in reversed(items) if isinstance(item, Finish)), self._finish)

    async def text(self) -> str:
        """All of it.

        Raises:
            PillionError: the stream failed.
        """
        text: list[str] = []
        while pieces := await self.take():
            text += pieces
        return "".join(text)

    @property
    def reason(self) -> str:
        """Why it ended."""
        return self.finish.reason

    @property
    def finish(self) -> Finish:
        """All that is known of its end."""
        if self._finder.found:  # what would have come later has not been said
            return msgspec.structs.replace(self._finish, reason="stop", tool_calls=None)
        if self._finish.tool_calls and self._finish.reason == "stop":
            return msgspec.structs.replace(self._finish, reason="tool_calls")
        return self._finish

    @property
    def tokens(self) -> tuple[int, int] | None:
        """Of the prompt and of the text, where the model counts them."""
        finish = self._finish
        if finish.prompt_tokens is None or finish.completion_tokens is None:
            return None
        return finish.prompt_tokens, finish.completion_tokens
