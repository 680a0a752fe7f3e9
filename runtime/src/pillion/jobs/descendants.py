"""What a process of a job's has started, wherever it went: nothing of it outlives the run.

Killing its group misses whoever has begun a session of its own. So the process adopts its orphans as long as it lives
(``PR_SET_CHILD_SUBREAPER``), which keeps them below it, and all that it starts inherits a mark in its environment, by
which they are found when it is gone, and when a former server is. Whoever leaves the session and forgets the
environment is not found when a SIGKILL from elsewhere takes that process first. (A cgroup would find it, and needs one
that is writable, which those of containers are not.)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from typing import Final

__all__ = ["MARK", "adopt_orphans", "kill_all"]

MARK: Final = "PILLION_TRAINING_ID"
"""Variable of the environment that names the job."""
_PR_SET_CHILD_SUBREAPER: Final = 36
_SECONDS: Final = 5.0
"""For all of them to be gone, which SIGKILL lets nobody wait for."""


def adopt_orphans() -> None:
    """Become the parent of whichever descendants lose theirs."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_all(identity: str, process: int | None = None) -> int:
    """Kill all that has the job's mark, and all below a process of it, but for that process; how many there were.

    Linux; elsewhere it finds none.
    """
    deadline = time.monotonic() + _SECONDS
    killed: set[int] = set()
    while found := _found(identity, process):
        for other in found:
            _kill(other, identity, process)
        killed |= found
        if time.monotonic() > deadline:
            break
        time.sleep(0.002)
    return len(killed)


def _found(identity: str, process: int | None) -> set[int]:
    parents: dict[int, int] = {}
    marked: set[int] = set()
    with contextlib.suppress(FileNotFoundError), os.scandir("/proc") as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            number = int(entry.name)
            parent = _parent(number)
            if parent is None:
                continue
            parents[number] = parent
            if _marked(number, identity):
                marked.add(number)
    below = {number for number in parents if process is not None and _below(number, process, parents)}
    return (marked | below) - {process, os.getpid()}


def _below(number: int, process: int, parents: dict[int, int]) -> bool:
    seen: set[int] = set()
    while number in parents and number not in seen:
        seen.add(number)
        number = parents[number]
        if number == process:
            return True
    return False


def _parent(number: int) -> int | None:
    """Of one that lives; None for one that is gone, or waits to be reaped."""
    try:
        with open(f"/proc/{number}/stat", "rb") as text:  # noqa: PTH123 - read for every process of the machine
            state, parent = text.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in (b"Z", b"X") else int(parent)


def _marked(number: int, identity: str) -> bool:
    try:
        with open(f"/proc/{number}/environ", "rb") as text:  # noqa: PTH123 - as above
            return f"{MARK}={identity}".encode() in text.read().split(b"\0")
    except OSError:  # somebody else's, or gone
        return False


def _kill(number: int, identity: str, process: int | None) -> None:
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(number)
        try:
            # The number may be somebody else's by now: looked at again, now that it cannot change any more.
            if _marked(number, identity) or (process is not None and number in _found(identity, process)):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
    with contextlib.suppress(OSError):
        os.waitpid(number, os.WNOHANG)  # it is ours where this process is the container's first
