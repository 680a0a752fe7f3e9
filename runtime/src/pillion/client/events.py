"""Server-sent events, read line by line."""

from __future__ import annotations

import codecs
import io
import json
from typing import Any, Final, NamedTuple

from pillion.client.errors import ClientError, error_of_event

__all__ = ["RENEWED", "Event", "Events", "Lines"]


class Event(NamedTuple):
    """One of a stream: its name, its data from JSON, and the place behind it, to go on there; empty for none."""

    name: str
    data: Any
    id: str = ""


RENEWED: Final = Event("renewed", None)
"""Of the client itself: the stream has ended for another one to go on behind it, and nothing was lost."""


class Lines:
    """Parts the pieces of a stream into lines. They end where the standard says and nowhere else: texts in JSON may
    have separators of their own (U+2028, U+0085).
    """

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._begun: list[str] = []

    def feed(self, piece: bytes) -> list[str]:
        """The lines that a piece completes."""
        first, *others = self._decoder.decode(piece).split("\n")
        self._begun.append(first)
        if not others:
            return []
        lines = ["".join(self._begun), *others]
        self._begun = [lines.pop()]
        return lines


class Events:
    """Puts lines together to events.

    Source: HTML standard, section "Server-sent events".
    """

    def __init__(self) -> None:
        self._name = "message"
        self._id = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """The event that a line completes; None where it completes none.

        Raises:
            CallError: the event is the stream's failure.
            ClientError: its data are no JSON, as of something else than a Pillion server.
        """
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                self._name = value
            elif field == "id":
                self._id = value
            elif field == "data":
                self._data.append(value)
            return None
        name, identity, data = self._name, self._id, "\n".join(self._data)
        complete = bool(self._data)
        self._name, self._id, self._data = "message", "", []
        if not complete:
            return None
        try:
            value_of_it = json.loads(data)
        except ValueError:
            raise ClientError(f"an event is no JSON: is this a Pillion server? It begins {data[:80]!r}") from None
        if name == "error":
            raise error_of_event(value_of_it)
        return Event(name, value_of_it, identity)
