"""Runs the console blocks of a document as a reader would type them, and compares what is printed with what the
document shows.

In a block, a line that starts ``$ `` is typed (``> `` continues it); the lines below it are its output. In the output
``...`` stands for any text, and a line that starts ``error:`` says that the command fails. A ``pillion serve`` keeps
running, as in a reader's first terminal, until the document ends. The folder that a command changes to is the next
one's too. Every document has the ports to itself (see :mod:`tests.integration.docs.network`).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.integration.docs.network import OwnLoopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Reader", "Step", "steps"]

SERVES = re.compile(r"(\w+=\S+ )*pillion serve\b")
READY = re.compile(r"\bready in\b")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a document and the output that the document shows for it."""

    line: int
    command: str
    output: str


def steps(markdown: str) -> Iterator[Step]:
    """The commands of all ``console`` blocks, in order."""
    inside = False
    command: list[str] = []
    output: list[str] = []
    begun = 0
    for number, line in enumerate([*markdown.splitlines(), ""], 1):
        fence = line.strip().startswith("```")
        if inside and (fence or line.startswith("$ ")) and command:
            yield Step(begun, "\n".join(command), "\n".join(output).strip())
            command, output = [], []
        if fence:
            inside = line.strip().startswith("```console") if not inside else False
        elif inside and line.startswith("$ "):
            begun, command = number, [line[2:]]
        elif inside and (line.startswith("> ") or line == ">") and command and not output:
            command.append(line[2:])
        elif inside and command:
            output.append(line)


def matches(shown: str, printed: str) -> bool:
    """Whether the printed text is what the document shows, ``...`` standing for anything, white space folded."""
    parts = [re.escape(" ".join(part.split())) for part in shown.split("...")]
    return re.fullmatch(r"\s?.*?\s?".join(parts), " ".join(printed.split()), re.DOTALL) is not None


class Reader:
    """Somebody who follows a document in a folder of their own. A context manager: leaving ends what was started."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._home = self._folder = folder
        self._environment = os.environ | environment
        self._servers: list[subprocess.Popen[str]] = []
        self._network = OwnLoopback()

    def __enter__(self) -> Self:
        self._network.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.send_signal(signal.SIGINT)
        for server in self._servers:
            server.wait(20)
            if server.stdout is not None:
                server.stdout.close()
        self._network.__exit__()

    def follow(self, step: Step) -> str:
        """Type one command; returns what it printed.

        Raises:
            AssertionError: it failed, or a server did not become ready.
        """
        fails = any(line.startswith("error:") for line in step.output.splitlines())
        if SERVES.match(step.command) and not fails:
            return self._serve(step)
        left_in = self._home / ".folder"
        done = subprocess.run(
            [
                *self._network.prefix,
                "bash",
                "-euo",
                "pipefail",
                "-c",
                f"{step.command}\npwd > {shlex.quote(str(left_in))}",
            ],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=60,
            check=False,
        )
        ended = f"line {step.line}: `{step.command}` ended with {done.returncode}:\n{done.stdout}"
        assert (done.returncode != 0) == fails, ended
        if not fails:
            self._folder = Path(left_in.read_text().rstrip("\n"))
        return done.stdout

    def _serve(self, step: Step) -> str:
        server = subprocess.Popen(
            [*self._network.prefix, "bash", "-c", f"exec env {step.command}"],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self._servers.append(server)
        printed: list[str] = []
        wanted = len(step.output.splitlines())
        complete = threading.Event()

        def read() -> None:
            assert server.stdout is not None
            for line in server.stdout:
                printed.append(line)
                if READY.search("".join(printed)) and len(printed) >= wanted:
                    complete.set()
            complete.set()

        threading.Thread(target=read, daemon=True).start()
        assert complete.wait(60), f"line {step.line}: `{step.command}` did not say it was ready:\n{''.join(printed)}"
        assert server.poll() is None, (
            f"line {step.line}: `{step.command}` ended with {server.poll()}:\n{''.join(printed)}"
        )
        return "".join(printed)
