"""What the activator has to know of plain HTTP/2 while it holds a connection. Pure: bytes in, bytes out.

A client sends no request before the server's SETTINGS, so a silent listener would see no request at all, and a
listener that wakes on the first byte would be woken by every channel that merely reconnects. So we send SETTINGS that
set nothing, acknowledge the client's, answer its PINGs, and wait for HEADERS. What both sides then learn twice, because
the real server sends SETTINGS and acknowledges as well, is taken out by `AckFilter`.
Source: RFC 9113, sections 3.4, 4.1, 6.5 and 6.7.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PREFACE", "AckFilter", "Http2Error", "Http2Hold"]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER_BYTES: Final = 9
#: Who has not been told of another size sends no larger frame.
_MOST_OF_A_FRAME: Final = 16_384
_HEADERS: Final = 0x1
_SETTINGS: Final = 0x4
_PING: Final = 0x6
_ACK: Final = 0x1
_EMPTY_SETTINGS: Final = bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
_SETTINGS_ACK: Final = bytes((0, 0, 0, _SETTINGS, _ACK, 0, 0, 0, 0))
_PING_ACK: Final = bytes((0, 0, 8, _PING, _ACK, 0, 0, 0, 0))


class Http2Error(ValueError):
    """The client broke a rule without which nothing can be told from its bytes."""


class Http2Hold:
    """One client's connection from its preface on, until there is a server for it."""

    def __init__(self) -> None:
        self._kept = bytearray(PREFACE)
        self._rest = bytearray()
        self._acks_owed = 0
        self._acks_seen = 0
        self.wakes = False
        """Whether a request has begun."""

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return len(self._kept) + len(self._rest)

    def greet(self) -> bytes:
        """Return what is sent first."""
        return _EMPTY_SETTINGS

    def feed(self, data: bytes) -> bytes:
        """Take what the client sent after its preface; return what to answer.

        Raises:
            Http2Error: a frame is larger than frames may be.
        """
        self._rest += data
        answer = bytearray()
        while len(self._rest) >= _HEADER_BYTES:
            end = _HEADER_BYTES + int.from_bytes(self._rest[:3])
            if end > _HEADER_BYTES + _MOST_OF_A_FRAME:
                raise Http2Error(f"a frame of {end} bytes")
            if len(self._rest) < end:
                break
            frame = bytes(self._rest[:end])
            del self._rest[:end]
            answer += self._frame(frame)
        return bytes(answer)

    def _frame(self, frame: bytes) -> bytes:
        kind, is_ack = frame[3], bool(frame[4] & _ACK)
        if kind == _PING:
            return b"" if is_ack else _PING_ACK + frame[_HEADER_BYTES:]
        if kind == _SETTINGS and is_ack:
            self._acks_seen += 1
            return b""
        self._kept += frame
        if kind == _SETTINGS:
            self._acks_owed += 1
            return _SETTINGS_ACK
        self.wakes = self.wakes or kind == _HEADERS
        return b""

    def replay(self) -> bytes:
        """Return what the server is to hear first; what has only partly come goes through `upward`."""
        return bytes(self._kept)

    def upward(self) -> tuple[AckFilter, bytes]:
        """Return the filter for what the client sends from now on, and what is to go through it at once."""
        return AckFilter(max(0, 1 - self._acks_seen)), bytes(self._rest)

    def downward(self) -> AckFilter:
        """Return the filter for what the server sends."""
        return AckFilter(self._acks_owed)


class AckFilter:
    """Takes the first so many acknowledgements of SETTINGS out of a stream of frames; then lets everything pass."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._head = b""
        self._passing = 0

    def feed(self, data: bytes) -> bytes:
        """Return what passes. At most the header of one frame is kept back."""
        if not self._left:
            return data
        passed, at = bytearray(), 0
        while at < len(data) and self._left:
            if self._passing:
                taken = data[at : at + self._passing]
                passed += taken
                self._passing -= len(taken)
                at += len(taken)
                continue
            wanted = _HEADER_BYTES - len(self._head)
            self._head += data[at : at + wanted]
            at = min(len(data), at + wanted)
            if len(self._head) == _HEADER_BYTES:
                passed += self._header()
        return bytes(passed) + data[at:]

    def _header(self) -> bytes:
        head, self._head = self._head, b""
        if head == _SETTINGS_ACK:
            self._left -= 1
            return b""
        self._passing = int.from_bytes(head[:3])
        return head
