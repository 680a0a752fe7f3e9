"""Why the server cannot start, and the exit code that says so."""

from __future__ import annotations

from enum import IntEnum, unique

__all__ = ["ExitCode", "LostError", "StartError"]


@unique
class ExitCode(IntEnum):
    """Exit codes of ``python -m pillion.server`` and ``pillion serve``."""

    OK = 0
    """Stopped after a drain."""
    UNEXPECTED = 1
    """A fault of the program itself."""
    USAGE = 2
    """A setting, flag or file that cannot be used."""
    BIND = 3
    """A port or socket cannot be bound."""
    TLS = 4
    """Certificate, key or client CA cannot be used."""


class StartError(Exception):
    """The server cannot start. The text says what, where and the remedy, and never holds a secret."""

    doing = "cannot start"

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class LostError(StartError):
    """The server had started and cannot go on: whoever started it is to start it again."""

    doing = "ended"
