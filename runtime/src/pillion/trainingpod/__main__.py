"""`python -m pillion.trainingpod` trains; with `store FOLDER` it stores what a program of the user's has left.

The order is in the variable PILLION_TRAINING.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Final

from pillion.errors import PillionError
from pillion.podword import DONE, FAILED, EndedError, terminate
from pillion.storage import StorageError
from pillion.trainingpod.order import read_order
from pillion.trainingpod.run import own_environment, run_pod
from pillion.trainingpod.storing import store_model

_USAGE: Final = 2


def main(arguments: list[str]) -> int:
    """Do what the pod is for; the exit code."""
    from pillion.storage.command import JsonFormatter  # noqa: PLC0415 - the pod's own lines look like the storage step's

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        order = read_order(os.environ)
    except PillionError as error:
        logging.getLogger("pillion.trainingpod").error("%s", error)  # noqa: TRY400 - a sentence for users
        return FAILED
    environment, log = own_environment(), Path(order.termination_log)
    if not arguments:
        status, fields = run_pod(order, environment)
        terminate(fields, log)
        return status
    if len(arguments) != 2 or arguments[0] != "store" or order.output is None:
        return _USAGE
    if os.environ.get("JOB_COMPLETION_INDEX", "0") != "0":
        terminate({"reason": "Completed"}, log)
        return DONE
    try:
        artifact = store_model(order, order.output, Path(arguments[1]), {}, environment)
    except StorageError as error:
        ended = EndedError.of_storage(error, "the model cannot be stored")
        logging.getLogger("pillion.trainingpod").error("%s", ended)  # noqa: TRY400 - as above
        terminate(ended.fields, log)
        return ended.status
    terminate({"reason": "Completed", "artifact": artifact}, log)
    return DONE


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Threads of libraries must not keep a pod that has ended from ending.
    os._exit(status)
