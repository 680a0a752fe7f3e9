"""A generated text as it comes: pieces joined, cut where it is to stop, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.authoring.finish import Finish
from pillion.stopping import StopFinder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.dataplane.streams import ItemStream

__all__ = ["Completion"]


class Completion:
    """One text of a model that generates.

    Args:
        stream: of its ``generate``; the first item is there.
        stops: texts before which it is cut.
    """

    def __init__(self, stream: ItemStream, stops: Sequence[str] = ()) -> None:
        self.stream = stream
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
                    self._finish = item
                elif not self._finder.found:
                    shown.append(self._finder.feed(item))
            if not items:
                self._over = True
                shown.append(self._finder.rest())
            elif self._finder.found:
                self._over = True
                self.stream.finish()
            shown = [piece for piece in shown if piece]
        return shown

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
        return "stop" if self._finder.found else self._finish.reason

    @property
    def tokens(self) -> tuple[int, int] | None:
        """Of the prompt and of the text, where the model counts them."""
        finish = self._finish
        if finish.prompt_tokens is None or finish.completion_tokens is None:
            return None
        return finish.prompt_tokens, finish.completion_tokens
