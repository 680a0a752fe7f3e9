"""Server-sent events, read line by line."""

from __future__ import annotations

import json
from typing import Any

from pillion.client.errors import error_of_event

__all__ = ["Events"]


class Events:
    """Puts lines together to events.

    Source: HTML standard, section "Server-sent events".
    """

    def __init__(self) -> None:
        self._name = "message"
        self._data: list[str] = []

    def feed(self, line: str) -> tuple[str, Any] | None:
        """The event that a line completes: its name, and its data from JSON; None where it completes none.

        Raises:
            CallError: the event is the stream's failure.
        """
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                self._name = value
            elif field == "data":
                self._data.append(value)
            return None
        name, data = self._name, "\n".join(self._data)
        complete = bool(self._data)
        self._name, self._data = "message", []
        if not complete:
            return None
        value_of_it = json.loads(data)
        if name == "error":
            raise error_of_event(value_of_it)
        return name, value_of_it
