"""``pillion serve service.py:Class`` as a real process, as its author runs it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.integration.server.process import environment
from tests.waiting import WITHIN, until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PILLION", "Program", "serving"]

PILLION = (sys.executable, "-m", "pillion.cli.main")
"""As the script ``pillion`` does it, also where Pillion is not installed but on the path."""


@dataclass
class Program:
    """The process, and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def printed(self) -> str:
        """All of it."""
        return "".join(self.lines)

    def url(self, path: str = "") -> str:
        """On the HTTP port."""
        return f"http://127.0.0.1:{self.ports['http']}{path}"

    def curl(self, path: str, body: object = None, *options: str) -> tuple[int, Any]:
        """Status and JSON body, by the real curl."""
        sent = [] if body is None else ["--json", body if isinstance(body, str) else json.dumps(body)]
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *sent, *options, self.url(path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=WITHIN,
        )
        text, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(text)

    def gauge(self, name: str) -> float:
        """The sum of a metric over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))

    def wait_for(self, text: str, seconds: float = WITHIN) -> None:
        """Wait until ``text`` has been printed."""
        until_now(lambda: text in self.printed or self._gone(), seconds)

    def _gone(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the program ended with {self.process.returncode}:\n{self.printed}")
        return False


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, **variables: str) -> Iterator[Program]:
    """Start it in a folder on free ports, wait until it is ready, and end it whatever the test did."""
    ports = ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0"]
    process = subprocess.Popen(
        [*PILLION, "serve", *arguments, *ports, "--json"],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    program = Program(process)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            program.lines.append(line)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        program.wait_for('{"ready"')
        line = next(line for line in program.lines if line.startswith('{"ready"'))
        program.ports = json.loads(line)["ports"]
        yield program
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        if process.stdout is not None:
            process.stdout.close()


def failing(folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Exit code and standard error of a start that fails."""
    ports = ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0"]
    done = subprocess.run(
        [*PILLION, "serve", *arguments, *ports],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr
