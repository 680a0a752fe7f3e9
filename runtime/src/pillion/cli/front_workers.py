"""``pillion serve --workers N``: both ends, the command and what each of its front workers tells it."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.cli.failures import SAY_WHY, CommandError
from pillion.server.front import worker
from pillion.server.front.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.runtimefile import RuntimeFile
    from pillion.server import Server
    from pillion.server.front.messages import Begin, Settled
    from pillion.server.settings import Settings

__all__ = ["supervise"]


def supervise(
    settings: Settings,
    workers: int,
    runtime_file: RuntimeFile,
    ca: Path | None,
    contexts: Sequence[bytes] | None = None,
    read_contexts: Callable[[], Sequence[bytes]] | None = None,
    *,
    as_json: bool,
) -> None:
    """Serve until stopped; prints what the command prints with one process.

    Raises:
        CommandError: the models cannot be loaded.
        StartError: no worker can be started.
    """
    missing = [name for name in ("uvicorn", "grpc", "uvloop") if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(f"no module named {missing[0]!r}: install what serving needs: pip install 'pillion[serve]'")
    failed: list[str] = []

    def settled(said: list[Settled]) -> None:
        failed.extend(said[0].failures)
        ready = [message for message in said if message.ready]
        if failed and not ready:
            supervisor.stop()
            return
        sys.stdout.write(f"{(ready or said)[0].told}\n")
        sys.stdout.flush()

    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    extra = {"ca": "" if ca is None else str(ca), "json": "1" if as_json else ""}
    supervisor = Supervisor(
        settings,
        workers,
        models=runtime_file.models,
        applications=runtime_file.applications,
        module=__name__,
        extra=extra,
        on_settled=settled,
        contexts=contexts,
        read_contexts=read_contexts,
        server_id="0",
    )
    supervisor.run()
    if failed:
        raise CommandError("\n       ".join(failed))


def _tell(begin: Begin, server: Server, seconds: float) -> tuple[str, tuple[str, ...]]:
    from pillion.cli.ready import failures, ready_text  # noqa: PLC0415 - only workers need it

    for name in SAY_WHY:
        logging.getLogger(name).setLevel(logging.NOTSET)
    ca = Path(begin.extra["ca"]) if begin.extra["ca"] else None
    text = ready_text(server, begin.settings, seconds, ca, begin.models, as_json=bool(begin.extra["json"]))
    return text, tuple(failures(server.statuses()))


def _main(arguments: list[str]) -> int:
    if sys.stderr.isatty():
        for name in SAY_WHY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return worker.main(arguments, _tell)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
