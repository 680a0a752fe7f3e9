"""Prints the interpreter that the tests of this folder run in, with PyTorch and what belongs to it.

Its Pillion is the checkout's, by ``PYTHONPATH``, because several checkouts share the environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conformance.environments import environment_of

LOCK = Path(__file__).parents[2] / "requirements" / "backends.lock"

if __name__ == "__main__":
    sys.stdout.write(str(environment_of("backends", LOCK, compiled=True)))
