"""Runs the console blocks of a document as a reader would type them, and compares what is printed with what the
document shows.

In a block, a line that starts ``$ `` is typed (``> `` continues it); the lines below it are its output. In the output
``...`` stands for any text, and a line that starts ``error:`` says that the command fails. A ``pillion serve`` keeps
running, as in a reader's first terminal, until the document ends or has the same ports served by another, which is when
a reader presses Ctrl-C. The folder that a command changes to is the next
one's too. A block with a title that is a path is a file, as a reader would save it (`` ```python title="app.py" ``);
a ``console`` block with a title belongs to the environment of that name. Every document has the ports to itself (see
:mod:`tests.integration.docs.network`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.integration.docs.network import OwnLoopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Peer", "Reader", "Step", "matches", "steps"]

SERVES = re.compile(r"(\w+=\S+ )*pillion serve\b")
FENCE = re.compile(r'\s*```(?P<language>\w*)(?:\s+title="(?P<title>[^"]+)")?\s*')
READY = re.compile(r"\bready in\b")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a document and the output that the document shows for it."""

    line: int
    command: str
    output: str
    where: str = ""
    """The environment that it is typed in; empty: Pillion's."""


def steps(markdown: str) -> Iterator[Step]:
    """The commands of all ``console`` blocks and the files of all titled blocks, in order."""
    lines = iter(enumerate(markdown.splitlines(), 1))
    for begun, line in lines:
        fence = FENCE.fullmatch(line)
        if fence is None:
            continue
        block = [text for _, text in takewhile(lambda numbered: numbered[1].strip() != "```", lines)]
        if fence["language"] == "console":
            yield from _typed(block, begun, fence["title"] or "")
        elif fence["title"] and "." in fence["title"]:
            name = shlex.quote(fence["title"])
            text = "\n".join(block)
            yield Step(begun, f"mkdir -p $(dirname {name}); cat > {name} <<'END-OF-FILE'\n{text}\nEND-OF-FILE", "")


def _typed(block: list[str], begun: int, where: str) -> Iterator[Step]:
    command: list[str] = []
    output: list[str] = []
    at = begun
    for number, line in enumerate(block, begun + 1):
        if line.startswith("$ "):
            if command:
                yield Step(at, "\n".join(command), "\n".join(output).strip(), where)
            at, command, output = number, [line[2:]], []
        elif (line.startswith("> ") or line == ">") and command and not output:
            command.append(line[2:])
        elif command:
            output.append(line)
    if command:
        yield Step(at, "\n".join(command), "\n".join(output).strip(), where)


def matches(shown: str, printed: str) -> bool:
    """Whether the printed text is what the document shows, ``...`` standing for anything, white space folded."""
    parts = [re.escape(" ".join(part.split())) for part in shown.split("...")]
    return re.fullmatch(r"\s?.*?\s?".join(parts), " ".join(printed.split()), re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another framework that a document compares with."""

    path: Path
    """The folder of its programs."""
    serves: re.Pattern[str]
    """The command that starts its server."""
    ready: str
    """What answers once it serves."""


class Reader:
    """Somebody who follows a document in a folder of their own. A context manager: leaving ends what was started.

    ``peers`` are the environments that titled blocks are typed in; what they serve runs until the document ends, too.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], peers: Mapping[str, Peer] | None = None) -> None:
        self._home = self._folder = folder
        self._environment = os.environ | environment
        self._peers = peers or {}
        self._servers: list[subprocess.Popen[str]] = []
        self._peer_servers: list[subprocess.Popen[str]] = []
        self._on_default_ports: subprocess.Popen[str] | None = None
        self._network = OwnLoopback()

    def __enter__(self) -> Self:
        self._network.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._network.__exit__)
            for server in self._peer_servers:
                stack.callback(_end, server)
            for server in self._servers:
                server.send_signal(signal.SIGINT)
            for server in self._servers:
                server.wait(60)
                if server.stdout is not None:
                    server.stdout.close()

    def follow(self, step: Step) -> str:
        """Type one command; returns what it printed.

        Raises:
            AssertionError: it failed, or a server did not become ready.
        """
        fails = any(line.startswith("error:") for line in step.output.splitlines())
        if SERVES.match(step.command) and not fails:
            return self._serve(step)
        peer = self._peers.get(step.where)
        if peer is not None and peer.serves.match(step.command):
            return self._serve_by(peer, step)
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
            env=self._variables(peer),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=250,
            check=False,
        )
        ended = f"line {step.line}: `{step.command}` ended with {done.returncode}:\n{done.stdout}"
        assert (done.returncode != 0) == fails, ended
        if not fails:
            self._folder = Path(left_in.read_text().rstrip("\n"))
        return done.stdout

    def _serve(self, step: Step) -> str:
        by_default = "-port " not in step.command
        if by_default and self._on_default_ports is not None:
            self._on_default_ports.send_signal(signal.SIGINT)
            self._on_default_ports.wait(60)
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
        if by_default:
            self._on_default_ports = server
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

    def _variables(self, peer: Peer | None) -> dict[str, str]:
        if peer is None:
            return self._environment
        return self._environment | {"PATH": f"{peer.path}{os.pathsep}{os.environ['PATH']}"}

    def _serve_by(self, peer: Peer, step: Step) -> str:
        log = self._home / f".server-{step.line}.log"
        with log.open("w") as file:
            server = subprocess.Popen(
                [*self._network.prefix, "bash", "-c", f"exec env {step.command}"],
                cwd=self._folder,
                env=self._variables(peer),
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                text=True,
            )
        self._peer_servers.append(server)
        asked = [*self._network.prefix, "curl", "--silent", "--fail", "--output", "/dev/null", peer.ready]
        deadline = time.monotonic() + 60
        while subprocess.run(asked, check=False).returncode != 0:
            assert server.poll() is None, f"line {step.line}: `{step.command}` ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"line {step.line}: `{step.command}` is not ready:\n{log.read_text()}"
            time.sleep(0.2)
        return ""


def _end(peer: subprocess.Popen[str]) -> None:
    """End another framework's server with all that it started; how it takes a signal is its own matter."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(peer.pid, signal.SIGKILL)
    peer.wait(60)
