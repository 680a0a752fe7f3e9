"""The end of a server is the end of its workers, however it came.

``PR_SET_PDEATHSIG`` would follow the thread that started the worker and not the server; and a thread that waits for the
end of the server could not run while native code holds the interpreter's lock. So the kernel is asked: signals for a
pipe (``O_ASYNC``, ``F_SETSIG``) need neither.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal

__all__ = ["hold"]


def hold(lifeline: int, *, group: bool = False) -> None:
    """Have the kernel kill this process, or its whole group, when nobody holds the writing end of the pipe any more."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp() if group else os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):  # it was closed before the kernel was asked
        if group:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        else:
            os.kill(os.getpid(), signal.SIGKILL)
