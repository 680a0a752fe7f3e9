"""A process that ends other processes when its owner dies, however the owner dies.

The owner holds the write end of the guardian's standard input and reports each process that it
starts (`+PID`) and has waited for (`-PID`). At the end of the input - which the kernel brings about
even when the owner is killed - the guardian kills what is left and removes the owner's folder.

A parent-death signal would not do: it fires at the end of the starting *thread*.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Guardian:
    """Watches over the processes of this one; use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        """Start a guardian that removes `directory` at the end."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt of the terminal is for the owner, not for it
        )

    @property
    def pid(self) -> int:
        """The guardian's own process."""
        return self._process.pid

    def watch(self, pid: int) -> None:
        """Kill the process at the end unless it is forgotten before."""
        self._send(f"+{pid}")

    def forget(self, pid: int) -> None:
        """Leave the process alone: it has ended, and its number may be used again."""
        self._send(f"-{pid}")

    def close(self) -> None:
        """Have the guardian end what is left and wait for it."""
        assert self._process.stdin is not None  # opened as a pipe above
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None  # opened as a pipe above
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()


def _guard(directory: Path) -> None:
    watched: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        (watched.add if line[0] == "+" else watched.discard)(pid)
    for pid in watched:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]))
