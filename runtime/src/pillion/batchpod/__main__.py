"""`python -m pillion.batchpod` predicts the share of one pod. The order is in the variable PILLION_BATCH."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.batchpod.order import VARIABLE, read_order
from pillion.batchpod.progress import Progress
from pillion.batchpod.run import BatchRun, document_of, stopped
from pillion.errors import PillionError
from pillion.podstatus import serve_status
from pillion.podword import DONE, FAILED, LOST, EndedError, terminate
from pillion.storage import StorageError

if TYPE_CHECKING:
    from pillion.batchpod.order import BatchOrder

_log: Final = logging.getLogger("pillion.batchpod")


def main() -> int:
    """Do what the pod is for; the exit code."""
    from pillion.storage.command import JsonFormatter  # noqa: PLC0415 - the pod's own lines look like the storage step's

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each batch
    try:
        order = read_order(os.environ)
    except PillionError as error:
        _log.error("%s", error)
        return FAILED
    progress = Progress()
    try:
        server = serve_status(lambda: document_of(progress), order.port)
    except OSError as error:
        return _ended(order, progress, EndedError(FAILED, "PortTaken", f"port {order.port}: {error.strerror}"))
    _log.info("/status answers on port %d", server.server_port)
    try:
        asyncio.run(_run(order, progress))
    except StorageError as error:
        return _ended(order, progress, EndedError.of_storage(error, "the files cannot be used"))
    except EndedError as error:
        return _ended(order, progress, error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: the operator must learn the kind of defect
        _log.critical("a defect of Pillion", exc_info=error)
        return _ended(order, progress, EndedError(LOST, "InternalError", type(error).__name__, "report it"))
    _log.info("this pod's share is done: %s", progress.document())
    terminate({"reason": "Completed", "batch": progress.document()}, Path(order.termination_log))
    return DONE


def _ended(order: BatchOrder, progress: Progress, error: EndedError) -> int:
    _log.error("%s", error)
    fields: dict[str, Any] = {**error.fields, "batch": progress.document()}
    terminate(fields, Path(order.termination_log))
    return error.status


async def _run(order: BatchOrder, progress: Progress) -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    index = int(os.environ.get("JOB_COMPLETION_INDEX", "0"))
    work = asyncio.create_task(BatchRun(order, index, environment, progress).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        raise stopped() from None


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Threads of libraries must not keep a pod that has ended from ending.
    os._exit(status)
