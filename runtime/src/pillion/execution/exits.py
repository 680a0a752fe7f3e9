"""How a process ended, for people. Pure."""

from __future__ import annotations

import signal
from typing import Final

__all__ = ["FAULTS", "exit_reason", "signal_name"]

FAULTS: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS})
"""Signals that native code brings on itself: it would do so again."""


def signal_name(number: int) -> str:
    """The signal's name; real-time ones have none, and are called by their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def exit_reason(code: int | None) -> str:
    """The end of a sentence about a process.

    Args:
        code: its exit status; below 0 the signal that ended it; None where it is not known.
    """
    if code is None:
        return "ended"
    if code >= 0:
        return f"ended with status {code}"
    hint = "; the kernel does that when memory runs out" if -code == signal.SIGKILL else ""
    return f"was ended by {signal_name(-code)}{hint}"
