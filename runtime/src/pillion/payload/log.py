"""Which requests have their payload kept, and what becomes of it. Everything here is the event loop's."""

from __future__ import annotations

import json
import logging
import random
import time
from typing import TYPE_CHECKING, Final, Protocol

from pillion.payload.event import REQUEST, RESPONSE, Event
from pillion.payload.record import PayloadRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.payload.options import PayloadOptions

__all__ = ["EventSink", "PayloadLog"]

_log: Final = logging.getLogger(__name__)
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_ID: Final = b"ce-id"
_LONGEST_ID: Final = 256


class EventSink(Protocol):
    """Where events go."""

    def offer(self, event: Event) -> None:
        """Take one, or drop it: never wait."""
        ...


class PayloadLog:
    """Makes events of requests and answers.

    Args:
        options: settings.
        sink: where events go.
        chance: a number from 0 to below 1.
    """

    def __init__(self, options: PayloadOptions, sink: EventSink, chance: Callable[[], float] = random.random) -> None:
        self._sink = sink
        self._share = options.share
        self._chance = chance
        self._requests = options.mode in ("all", "request")
        self._responses = options.mode in ("all", "response")
        refused = [name for name in options.metadata_headers if name.lower() in _CREDENTIALS]
        if refused:
            _log.warning("logger.metadata_headers: %s hold credentials and are left out", ", ".join(refused))
        self._headers = tuple(
            (name, name.lower().encode("latin-1", "replace"))
            for name in options.metadata_headers
            if name not in refused
        )

    def choose(self, headers: Mapping[bytes, bytes]) -> PayloadRecord | None:
        """A record for a request that is to be kept; None for the others."""
        if self._share < 1 and self._chance() >= self._share:
            return None
        given = headers.get(_ID, b"").decode("latin-1")
        chosen = {name: [headers[key].decode("latin-1")] for name, key in self._headers if key in headers}
        return PayloadRecord(given[:_LONGEST_ID], json.dumps(chosen))

    def request(self, record: PayloadRecord, content_type: str, body: bytes, identity: str) -> None:
        """Take a request's body. ``identity`` is the request's id, the event's where the caller gave none."""
        record.event_id = record.event_id or identity
        if self._requests:
            self._sink.offer(Event(REQUEST, record.event_id, time.time(), _media(content_type), body, record.metadata))

    def response(self, record: PayloadRecord, content_type: str, body: bytes) -> None:
        """Take the answer's: only answers that are predictions are offered."""
        if self._responses:
            self._sink.offer(Event(RESPONSE, record.event_id, time.time(), content_type, body, record.metadata))


def _media(content_type: str) -> str:
    """The media type, where the caller sent one that a header can carry on."""
    return content_type if content_type.isascii() and content_type.isprintable() else "application/octet-stream"
