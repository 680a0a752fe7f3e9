"""Server-sent events, read line by line."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pillion.client.errors import error_of_event

__all__ = ["Event", "Events"]


class Event(NamedTuple):
    """One of a stream: its name, its data from JSON, and the place behind it, to go on there; empty for none."""

    name: str
    data: Any
    id: str = ""


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
        value_of_it = json.loads(data)
        if name == "error":
            raise error_of_event(value_of_it)
        return Event(name, value_of_it, identity)
