"""Waiting for something new about a job."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Changes"]


class Changes:
    """Who follows which job. Event loop's thread only."""

    def __init__(self) -> None:
        self._followers: dict[str, set[asyncio.Event]] = {}

    def tell(self, identity: str) -> None:
        """Wake those who follow the job."""
        for event in self._followers.get(identity, ()):
            event.set()

    def tell_all(self) -> None:
        """Wake everybody: the server stops."""
        for events in self._followers.values():
            for event in events:
                event.set()

    @contextlib.contextmanager
    def following(self, identity: str) -> Iterator[asyncio.Event]:
        """An event that is set at every change from now on; clear it, look, then wait for it."""
        event = asyncio.Event()
        events = self._followers.setdefault(identity, set())
        events.add(event)
        try:
            yield event
        finally:
            events.discard(event)
            if not events:
                self._followers.pop(identity, None)
