"""Two programs that talk over named pipes: this one starts the other, sends it arrays, and is told when it ends.

python pipe_pair.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from pillion import pipe


def worker(path: str) -> None:
    """The other program: sums of what it gets, until it gets None."""
    with pipe.Client(path) as side:
        while (array := side.recv()) is not None:
            side.send(float(array.sum()))


def main() -> None:
    """Ask for two sums, and see the end of the other side."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "pair")
        with pipe.Server(path) as side, subprocess.Popen([sys.executable, __file__, path]):
            for size in (3, 1_000_000):
                side.send(np.ones(size), timeout=30)
                print(size, "ones are", side.recv(timeout=30))
            side.send(None)
            try:
                side.recv(timeout=30)
            except EOFError:
                print("the other side has ended")


if __name__ == "__main__":
    worker(sys.argv[1]) if len(sys.argv) > 1 else main()
