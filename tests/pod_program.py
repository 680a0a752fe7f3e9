"""A program of a Job's pod, run as a process of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PodProgram"]

_WITHIN: Final = 60.0


class PodProgram:
    """One run of the program."""

    module: ClassVar[str]
    variable: ClassVar[str]
    """What the order is in."""
    kind: ClassVar[str]
    """Below which `/status` tells of the work."""

    def __init__(self, order: dict[str, Any], folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.word_file = folder / "termination-log"
        self.word_file.touch()
        self.log_file = folder / "log"
        order = {**order, "work": str(folder / "work"), "port": 0, "termination_log": str(self.word_file)}
        with self.log_file.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                env={**os.environ, **environment, self.variable: json.dumps(order)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def word(self) -> dict[str, Any]:
        """What it left for the operator."""
        told: dict[str, Any] = json.loads(self.word_file.read_text())
        return told

    def status(self) -> dict[str, Any]:
        port = next(line for line in self.log.splitlines() if "answers on port" in line).rsplit(" ", 1)[1].split('"')[0]
        answer = httpx.get(f"http://127.0.0.1:{port}/status", timeout=60, trust_env=False).json()
        found: dict[str, Any] = answer[self.kind]
        return found

    def wait_until(self, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until what `/status` says is enough; it is empty while nobody answers there."""
        deadline = time.monotonic() + _WITHIN
        while True:
            assert self._process.poll() is None, self.log
            found = self.status() if "answers on port" in self.log else {}
            if enough(found):
                return found
            assert time.monotonic() < deadline, f"{found}\n{self.log}"
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(_WITHIN)

    def end(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
