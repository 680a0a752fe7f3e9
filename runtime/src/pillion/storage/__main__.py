"""The entry of the storage init container: ``python -m pillion.storage``.

It leaves by `os._exit`: the worker threads of obstore's runtime may still be letting go of Python objects when the
interpreter is torn down, which now and then ends the process with SIGABRT after all its work is done
(PyO3/pyo3-async-runtimes issue 40). Everything is on the disk by then, and logs are flushed here.
"""

import logging
import os
import sys

from pillion.storage.command import main

if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
