"""``python -m pillion.repository.worker``: a worker process, started by a server for one model.

It imports what the model needs and nothing of the server. It is told what to load over its socket, says what it has
loaded, and answers calls until the server closes the connection.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING

from pillion.execution.lifeline import hold
from pillion.execution.messages import Load, Ready, Record, Unable
from pillion.execution.worker import Worker
from pillion.execution.worker_connection import Connection

if TYPE_CHECKING:
    from pillion.backends.api import LoadedModel
    from pillion.repository.processes import WorkerOrder

__all__ = ["main"]


class _ToServer(logging.Handler):
    """Log lines go to the server, which writes them as it writes its own."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`."""
        try:
            self._connection.log(Record(record.levelno, record.name, self.format(record)))
        except Exception:  # noqa: BLE001 - as every handler: what is wrong with a line must not reach the code that wrote it
            self.handleError(record)


def main(arguments: list[str]) -> int:
    """Serve one model; the arguments are three descriptors (see :class:`~pillion.execution.worker_process`)."""
    data, abandoned, lifeline = map(int, arguments)
    hold(lifeline)
    _keep_to_ourselves(data, abandoned, lifeline)
    # The server drains first and then ends its workers. A handler and not SIG_IGN, which programs started by a
    # model's code would inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_to_the_server)
    connection = Connection(socket.socket(fileno=data))
    try:
        model = _loaded(connection)
    except EOFError:
        return 0
    if model is None:
        return 1
    gc.freeze()
    from pillion.repository.remote_model import callables  # noqa: PLC0415 - as what loads the model

    Worker(connection, model, callables(model), abandoned).serve()
    model.close()
    return 0


def _keep_to_ourselves(*numbers: int) -> None:
    """Keep programs and forks of the model's code from holding the server's connections.

    The server would not see the worker end while they live. Forks get /dev/null in their place, and not a free number,
    which would be another file's soon.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        os.set_inheritable(number, False)
    os.register_at_fork(after_in_child=lambda: [os.dup2(null, number, inheritable=False) for number in numbers])


def _leave_to_the_server(*_: object) -> None:
    pass


def _loaded(connection: Connection) -> LoadedModel | None:
    """Load what the first message says; None where it cannot be, after saying why."""
    order: WorkerOrder | None = None
    while order is None:
        for message in connection.inbox.receive():
            if isinstance(message, Load):
                order = pickle.loads(message.order)  # noqa: S301 - written by the server
    if order.cpus is not None:
        os.sched_setaffinity(0, order.cpus)
    logging.basicConfig(level=order.log_level, handlers=[_ToServer(connection)], format="%(message)s")
    sys.path[:] = order.path
    sys.dont_write_bytecode = not order.write_bytecode
    # Imported only now: libraries read affinity and variables as they are imported.
    from pillion.backends.api import ModelLoadError  # noqa: PLC0415 - see above

    try:
        model, description = order.load()
        connection.send(Ready(description))
    except ModelLoadError as error:
        connection.send(Unable(error.message, error.remedy, error.cause, error.files))
        return None
    except BaseException as error:  # noqa: BLE001 - a library may raise anything, sys.exit() too; its owner is told
        text = "".join(traceback.format_exception(error))
        connection.send(Unable(str(error), expected=False, kind=type(error).__name__, traceback=text[-20_000:]))
        return None
    return model


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
