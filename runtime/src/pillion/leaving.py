"""Ending a process that has used obstore.

The worker threads of obstore's runtime may still be letting go of Python objects when the interpreter is torn down,
which now and then ends the process with SIGABRT after all its work is done (PyO3/pyo3-async-runtimes issue 40). So it
is not torn down: everything is on the disk by then, and what was said is flushed here.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

__all__ = ["leave"]


def leave(code: int) -> NoReturn:
    """End the process now, with that status."""
    import logging  # noqa: PLC0415 - for the few that end so

    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
