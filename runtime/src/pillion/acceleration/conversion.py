"""Asking a process of its own for the estimator as ONNX, for a bounded time."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.acceleration.job import Converted, Unconvertible
from pillion.acceleration.worker import ANSWER, ESTIMATOR

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["converted"]

# Made once, at the import: msgspec crashes where two threads take the same type apart at once.
_ANSWER: Final = msgspec.msgpack.Decoder(Converted | Unconvertible)


def converted(
    estimator: Any,  # noqa: ANN401 - any estimator
    precision: str,
    seconds: float,
    command: Sequence[str] = (sys.executable, "-P", "-m", "pillion.acceleration.worker"),
) -> Converted | Unconvertible:
    """The estimator as ONNX, or why not. Blocks for at most ``seconds``.

    Args:
        estimator: fitted, in memory.
        precision: of the matrix that it will take, "double" or "float".
        seconds: the process is ended after that.
        command: what to start, before its arguments; the last of them is a pipe that ends with this process.
    """
    with tempfile.TemporaryDirectory(prefix="pillion-accelerate-") as scratch:
        folder = Path(scratch)
        try:
            (folder / ESTIMATOR).write_bytes(pickle.dumps(estimator, protocol=5))
        except Exception as error:  # noqa: BLE001 - whatever parts of an estimator raise when they are pickled
            return Unconvertible(f"it cannot be handed to the converter: {type(error).__name__}: {error}")
        limit = max(1, round(seconds))
        lifeline, ours = os.pipe()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter and a module of ours
                [*command, str(limit), precision, str(folder), str(lifeline)],
                pass_fds=(lifeline,),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Unconvertible(f"it was not converted within {limit} s")
        finally:
            os.close(lifeline)
            os.close(ours)
        answer = folder / ANSWER
        if not answer.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            last = f": {said[-1][:200]}" if said else ""
            return Unconvertible(f"the process that converts ended with {done.returncode}{last}")
        told: Converted | Unconvertible = _ANSWER.decode(answer.read_bytes())
        return told
