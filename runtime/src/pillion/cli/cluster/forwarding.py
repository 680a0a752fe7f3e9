"""A way from this machine to a Service of the cluster: kubectl's port-forward, on a free port of loopback."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING, Final

from pillion.cli.failures import CLUSTER, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.cli.cluster.kubectl import Kubectl

__all__ = ["forwarded"]

_LISTENING: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")
_SECONDS: Final = 30.0
_END_SECONDS: Final = 5.0


@contextlib.contextmanager
def forwarded(kubectl: Kubectl, target: str, port: str) -> Iterator[int]:
    """Forward to a port of ``target``, such as ``service/iris-predictor``; the port on this machine.

    Raises:
        CommandError: kubectl could not, with what it said.
    """
    command = kubectl.command("port-forward", "--address=127.0.0.1", target, f":{port}")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(  # noqa: S603 - the user's own kubectl
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        # A port-forward that hangs is ended, which also ends the reading below.
        timer = threading.Timer(_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            found = _first_port(process)
            timer.cancel()
            if found is None:
                process.wait()
                errors.seek(0)
                said = errors.read()
                if not said.strip():
                    raise CommandError(f"kubectl port-forward {target} did not begin in {_SECONDS:g} s", code=CLUSTER)
                raise kubectl.failure_of(said, f"kubectl port-forward {target}")
            yield found
        finally:
            timer.cancel()
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _first_port(process: subprocess.Popen[str]) -> int | None:
    """The port that kubectl says it listens on; None where it ended without."""
    for line in process.stdout or ():
        if match := _LISTENING.search(line):
            return int(match[1])
    return None
