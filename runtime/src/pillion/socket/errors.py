"""What can go wrong between two programs, by what its reader can do about it."""

from __future__ import annotations

__all__ = [
    "ConnectionLostError",
    "EnqueueTimeoutError",
    "NotServedError",
    "ProtocolError",
    "RemoteError",
    "ResponseTimeoutError",
    "SocketError",
    "UnknownPathError",
]


class SocketError(Exception):
    """Any of the others."""


class ProtocolError(SocketError):
    """The other side speaks something else, or another version."""


class NotServedError(SocketError, ConnectionError):
    """There is no server: nothing was sent, so it may be asked again."""


class EnqueueTimeoutError(SocketError, TimeoutError):
    """The request was never sent: there was no room in the backlog, or on the connections, in time."""


class ResponseTimeoutError(SocketError, TimeoutError):
    """The request was sent, and there is no answer yet; the server has been told that nobody waits for one."""


class ConnectionLostError(SocketError, ConnectionError):
    """The request was sent, and the connection ended before the answer: it may have been carried out."""


class RemoteError(SocketError):
    """What a handler raised.

    Attributes:
        type: name of the exception's class.
        message: its text.
        traceback: where it was raised, as text of the server.
    """

    def __init__(self, type: str, message: str, traceback: str = "") -> None:  # noqa: A002 - what it is
        super().__init__(f"{type}: {message}" if message else type)
        self.type = type
        self.message = message
        self.traceback = traceback

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str, str]]:
        """For programs that send it on to processes of their own."""
        return (self.__class__, (self.type, self.message, self.traceback))


class UnknownPathError(RemoteError):
    """The application has no such path; the text lists those that it has."""
