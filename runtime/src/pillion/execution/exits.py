"""How a process ended, for people. Pure."""

from __future__ import annotations

import signal

__all__ = ["exit_reason"]


def exit_reason(code: int | None) -> str:
    """The end of a sentence about a process.

    Args:
        code: its exit status; below 0 the signal that ended it; None where it is not known.
    """
    if code is None:
        return "ended"
    if code >= 0:
        return f"ended with status {code}"
    known = {number.value for number in signal.Signals}  # real-time ones have no names
    name = signal.Signals(-code).name if -code in known else f"signal {-code}"
    hint = "; the kernel does that when memory runs out" if -code == signal.SIGKILL else ""
    return f"was ended by {name}{hint}"
