"""What crosses a socket or a pipe, and what does not: values by MessagePack, arrays as they are, never pickled objects.

python what_crosses.py
"""

import dataclasses
import datetime as dt
import tempfile
import threading
from pathlib import Path

import numpy as np

from pillion import pipe


@dataclasses.dataclass
class Flower:
    """Comes out as a dict."""

    petals: int
    seen: dt.date


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "p"
    with pipe.Server(path) as one, pipe.Client(path) as other:
        for value in (Flower(5, dt.date(2026, 5, 1)), (1, 2), {"x": np.eye(2, dtype=np.float32)}, b"bytes", None):
            one.send(value)
            got = other.recv()
            print(type(value).__name__, "->", repr(got))
        try:
            one.send(threading.Lock())
        except TypeError as error:
            print(error)
