"""A class for worker processes whose calls a test can see, hold and kill, through files.

Its instances live in other processes, so what tests and calls tell each other are files in a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pillion.runtimefile import Code, DesiredModel, ExecutionSettings
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Controls", "tensor"]

_SOURCE = '''
import ctypes
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from pillion import Model, task

FOLDER = Path(__file__).parent
log = logging.getLogger("controlled")


def wait_for(name):
    """Note that the call has begun, and wait for a file."""
    (FOLDER / f"{name}.begun").touch()
    while not (FOLDER / name).exists():
        time.sleep(0.002)


class Controlled(Model):
    def load(self):
        if (FOLDER / "unloadable").exists():
            raise OSError("the disk is on fire")
        if (FOLDER / "slow-loading").exists():
            wait_for("loaded")
        if (FOLDER / "dies-loading").exists():
            os._exit(3)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x

    @task
    def facts(self) -> dict[str, str]:
        return {
            "pid": str(os.getpid()),
            "modules": " ".join(sorted(sys.modules)),
            "cpus": json.dumps(sorted(os.sched_getaffinity(0))),
            "threads": os.environ.get("OMP_NUM_THREADS", ""),
        }

    @task
    def held(self, name: str) -> str:
        wait_for(name)
        return str(os.getpid())

    @task
    def catches(self, name: str) -> str:
        try:
            wait_for(name)
        except BaseException as error:
            (FOLDER / f"{name}.stopped").write_text(type(error).__name__)
            raise
        return "ended"

    @task
    def stuck(self, name: str) -> str:
        """In native code that cannot be interrupted, and holds the interpreter's lock."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        (FOLDER / f"{name}.begun").touch()
        ctypes.PyDLL(None).pause()

    @task
    async def asynchronous(self, name: str) -> str:
        import asyncio

        (FOLDER / f"{name}.begun").touch()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            (FOLDER / f"{name}.stopped").touch()
            raise
        return "ended"

    @task
    def dies(self, name: str) -> str:
        (FOLDER / f"{name}.begun").touch()
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    @task
    def dies_once(self, name: str) -> str:
        if not (FOLDER / f"{name}.begun").exists():
            self.dies(name)
        return "again"

    @task
    def refuses(self, text: str) -> str:
        raise ValueError(f"no {text}")

    @task
    def fails(self, text: str) -> str:
        raise KeyError(text)

    @task
    def exits(self, text: str) -> str:
        sys.exit(text)

    @task
    def talks(self, name: str) -> str:
        (FOLDER / f"{name}.begun").touch()
        while True:
            log.warning("x" * 10_000)

    @task
    def logs(self, text: str) -> str:
        log.warning("says %s", text)
        return text

'''


class Controls:
    """The folder with the class, and the files that hold its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "controlled.py"
        self.file.write_text(_SOURCE)

    def model(self, name: str = "m", **execution: Any) -> DesiredModel:
        """It, in worker processes."""
        return DesiredModel(
            name=name,
            path="",
            format="python",
            code=Code(module=str(self.file), class_name="Controlled", folder=str(self.folder)),
            execution=msgspec.structs.replace(ExecutionSettings(executor="process", processes=1), **execution),
        )

    def begun(self, name: str) -> bool:
        """Whether the call of that name has begun."""
        return (self.folder / f"{name}.begun").exists()

    def stopped(self, name: str) -> bool:
        """Whether it has noticed that it is to stop."""
        return (self.folder / f"{name}.stopped").exists()

    def touch(self, name: str) -> None:
        """Let the calls of that name go on, or switch something on."""
        (self.folder / name).touch()


def tensor(values: Any, name: str = "x") -> Tensor:
    """FP32."""
    return Tensor(name, Datatype.FP32, np.asarray(values, dtype=np.float32))
