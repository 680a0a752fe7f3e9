"""Events on their way: a bounded buffer that the event loop appends to, and threads that empty it.

Threads with blocking connections, because most of sending is waiting, and what is not would hold the loop up.
"""

from __future__ import annotations

import logging
import queue
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.payload.event import Event, binary, common_attributes, structured
from pillion.payload.sink import Sink, SinkError
from pillion.web_address import web_address

if TYPE_CHECKING:
    from pillion.payload.options import PayloadOptions

__all__ = ["Sender"]

_log: Final = logging.getLogger(__name__)
_QUIET_SECONDS: Final = 60.0
_LAST_SECONDS: Final = 5.0


class Sender:
    """Sends events, and counts what became of them.

    Raises:
        ValueError: the URL or the CA cannot be used; the text says what is wrong.
    """

    def __init__(self, options: PayloadOptions) -> None:
        token = (options.bearer_token or "").strip()  # the last newline of a Secret's file is none of it
        if not (token.isascii() and token.isprintable()):
            raise ValueError("logger.bearer_token holds characters that no header can carry")
        options = msgspec.structs.replace(options, bearer_token=token or None)
        self._options = options
        self._encode = binary if options.encoding == "binary" else structured
        self._common = common_attributes(options)
        self._context = _context(options)
        self._waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._events = 0
        self._bytes = 0
        self._told = -_QUIET_SECONDS
        self._over = False
        self.counts: dict[str, int] = {"sent": 0, "failed": 0, "dropped": 0}
        """Events by what became of them."""
        self._threads = [
            threading.Thread(target=self._run, name=f"pillion-payloads-{number}", daemon=True)
            for number in range(options.connections)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Events in the buffer and under way."""
        return self._events

    def offer(self, event: Event) -> None:
        """Take one, or drop it where the buffer is full: never wait."""
        size = len(event.data)
        with self._lock:
            if self._events >= self._options.max_events or self._bytes + size > self._options.max_bytes:
                self.counts["dropped"] += 1
                return
            self._events += 1
            self._bytes += size
        self._waiting.put(event)

    def close(self, seconds: float = _LAST_SECONDS) -> None:
        """Send what is left, for so many seconds at most. Blocks."""
        until = time.monotonic() + seconds
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._over = True

    def _run(self) -> None:
        sink = Sink(self._options, self._context)
        while not self._over:
            event = self._waiting.get()
            if event is None:
                break
            self._send(sink, event)
        sink.close()

    def _send(self, sink: Sink, event: Event) -> None:
        try:
            sink.post(*self._encode(event, self._common))
            result = "sent"
        except SinkError as error:
            result = "failed"
            self._tell(error)
        except Exception:  # noqa: BLE001 - one bad event must not end the thread that sends the others
            result = "failed"
            _log.exception("an event of the payload log could not be made")
        with self._lock:
            self._events -= 1
            self._bytes -= len(event.data)
            self.counts[result] += 1

    def _tell(self, error: SinkError) -> None:
        """One line a minute: a sink that is away would fill the log."""
        now = time.monotonic()
        with self._lock:
            if now - self._told < _QUIET_SECONDS:
                return
            self._told = now
        _log.warning("the payload log does not reach its sink (next line in %.0f s): %s", _QUIET_SECONDS, error)


def _context(options: PayloadOptions) -> ssl.SSLContext | None:
    if not web_address(options.url, of="a sink").secure:
        return None
    try:
        return ssl.create_default_context(cafile=options.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"logger.ca {options.ca!r} cannot be used: {error}") from error
