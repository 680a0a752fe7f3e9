"""``python -m pillion.server.front.worker``: a front worker, which is a whole server on ports that are given to it."""

from __future__ import annotations

import gc
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.execution.lifeline import hold
from pillion.server.failures import ExitCode, StartError
from pillion.server.front.channel import receive
from pillion.server.front.messages import FROM_SUPERVISOR, Begin, Settled
from pillion.server.front.place import Place
from pillion.server.logs import configure, configure_further
from pillion.worker_context import unpack

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from pillion.server.server import Server
    from pillion.worker_context import WorkerContext

    Tell = Callable[[Begin, Server, float], tuple[str, tuple[str, ...]]]

__all__ = ["main"]


def main(arguments: list[str], tell: Tell | None = None) -> int:
    """Serve until stopped; returns the exit code.

    Args:
        arguments: descriptors: the socket to the supervisor, the lifeline, the listening socket of HTTP.
        tell: gives what a program around the workers prints when the models are loaded, and the failures it names.
    """
    channel, lifeline, listening = map(int, arguments)
    hold(lifeline)
    for number in (channel, lifeline, listening):
        os.set_inheritable(number, False)
    connection = socket.socket(fileno=channel)
    try:
        begin = receive(connection, FROM_SUPERVISOR)
    except EOFError:
        return int(ExitCode.UNEXPECTED)
    if not isinstance(begin, Begin):
        raise TypeError(f"expected Begin first, got {type(begin).__name__}")
    configure(begin.settings.log).addFilter(_numbered(begin.number))
    if begin.log_config is not None:
        configure_further(begin.log_config)
    from pillion.execution import garbage  # noqa: PLC0415 - heavy imports come after the environment is set
    from pillion.execution.native_threads import limit  # noqa: PLC0415 - as above

    limit(os.environ, begin.cpus)
    gc.disable()  # imports make many objects and no garbage
    from pillion.server.preload import import_libraries  # noqa: PLC0415 - as above

    import_libraries()
    from pillion.server.server import Server  # noqa: PLC0415 - as above

    gc.enable()
    place = Place(begin, connection, socket.socket(fileno=listening))

    def loaded(server: Server, seconds: float) -> None:
        garbage.freeze()
        told, failures = ("", ()) if tell is None else tell(begin, server, seconds)
        reason = server.unready_reason()
        place.settled(Settled(ready=not reason, reason=reason, seconds=seconds, told=told, failures=failures))

    try:
        Server(
            begin.settings,
            models=begin.models,
            config=Path(begin.config) if begin.config else None,
            place=place,
            applications=begin.applications,
            server_id=begin.server_id,
            context=_context(begin),
        ).start(on_loaded=loaded)
    except StartError as failure:
        place.fail(failure)
        return int(failure.code)
    return int(ExitCode.OK)


def _context(begin: Begin) -> WorkerContext | None:
    if begin.context is None:
        return None
    try:
        return unpack(begin.context, begin.number)
    except ValueError as error:
        raise StartError(ExitCode.USAGE, str(error)) from error


def _numbered(number: int) -> Callable[[logging.LogRecord], bool]:
    """Tell lines of several workers apart."""

    def add(record: logging.LogRecord) -> bool:
        record.worker = number
        return True

    return add


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
