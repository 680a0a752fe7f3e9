"""The command line as a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.integration.server.process import environment
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["PILLION", "PORTS", "pillion", "serving"]

PORTS = ("--http-port", "0", "--grpc-port", "0", "--admin-port", "0")
PILLION = (sys.executable, "-m", "pillion.cli.main")


def pillion(
    *arguments: str, stdin: str = "", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; a traceback is never an answer."""
    done = subprocess.run(
        [*PILLION, *arguments],
        input=stdin,
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        cwd=cwd,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def serving(*arguments: str, cwd: Path | None = None) -> Iterator[list[str]]:
    """`pillion serve` while the block runs: its first lines (two, of JSON one), its end after Ctrl-C."""
    server = subprocess.Popen(
        [*PILLION, "serve", *arguments],
        env=environment(),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(1 if "--json" in arguments else 2)]
        assert all(lines), server.communicate(timeout=60)[1]
        yield lines
        server.send_signal(signal.SIGINT)
        assert 0 == server.wait(60)
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate()
