"""Ending a process that the interpreter could not: one that has used obstore, or whose threads do not end.

The worker threads of obstore's runtime may still be letting go of Python objects when the interpreter is torn down,
which now and then ends the process with SIGABRT after all its work is done (PyO3/pyo3-async-runtimes issue 40). So it
is not torn down: everything is on the disk by then, and what was said is flushed here.

Threads that an application's framework began are waited for by the interpreter, for ever if one is stuck. A server has
given them its grace by then.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

__all__ = ["leave", "leave_threads"]


def leave_threads(code: int) -> None:
    """Where applications were served and some of their threads still run, end the process now, and say so."""
    if "pillion.applications.threads" not in sys.modules:
        return
    import threading  # noqa: PLC0415 - as below

    kept = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if kept:
        import logging  # noqa: PLC0415 - as below

        logging.getLogger("pillion.applications").warning("threads that do not end are left: %s", ", ".join(kept))
        leave(code)


def leave(code: int) -> NoReturn:
    """End the process now, with that status."""
    import logging  # noqa: PLC0415 - for the few that end so

    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
