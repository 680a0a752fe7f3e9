"""Servers as processes: start, wait until they answer, read their CPU time and memory, end them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Process", "free_port", "resident_mib"]

TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def resident_mib(pid: int) -> float:
    """Resident memory of one process, MiB; 0 for one that is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *_children(int(child))]
    return found


@dataclass(slots=True)
class Process:
    """One server, pinned to one processor, with everything it starts."""

    name: str
    command: Sequence[str | Path]
    cpu: int
    log: Path
    cwd: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    _popen: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool], seconds: float = 90, every: float = 0.01) -> float:
        """Start it and wait until ``ready``; returns the seconds that took."""
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                ["taskset", "-c", str(self.cpu), *map(str, self.command)],
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                # With byte code, as in an image, whatever the environment says.
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""} | self.env,
                start_new_session=True,
            )
        while True:
            if self._popen.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._popen.returncode}; see {self.log}")
            if ready():
                return time.monotonic() - begun
            if time.monotonic() - begun > seconds:
                self.stop()
                raise TimeoutError(f"{self.name} did not become ready within {seconds} s; see {self.log}")
            time.sleep(every)

    @property
    def _pids(self) -> list[int]:
        if self._popen is None:
            raise RuntimeError(f"{self.name} is not running")
        return [self._popen.pid, *_children(self._popen.pid)]

    @property
    def pid(self) -> int:
        """Of the process itself."""
        return self._pids[0]

    def cpu_seconds(self) -> float:
        """User plus system time of the process and its living descendants so far, seconds."""
        total = 0
        for pid in self._pids:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def rss_mib(self) -> float:
        """Resident memory of all its processes, MiB."""
        return sum(map(resident_mib, self._pids))

    def stop(self) -> None:
        """End it and everything in its session, and wait."""
        if self._popen is None:
            return
        pids = self._pids
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait(5)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._popen = None
