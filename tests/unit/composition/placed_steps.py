"""Steps that worker processes import."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator  # noqa: TC003 - hints of steps are read at run time
from pathlib import Path

from pillion import Model, task


class Doubler(Model):
    """Doubles by what it has loaded."""

    def load(self) -> None:
        """Learn by how much."""
        self.by = 2

    @task
    def double(self, number: int) -> int:
        """Twice as much."""
        return number * self.by


def where(_: object) -> int:
    """The process it ran in."""
    return os.getpid()


def die(_: object) -> None:
    """As a library that crashes."""
    os._exit(3)


def refuse(number: int) -> int:
    """Raise what the caller is to see."""
    raise ValueError(f"{number} is too odd")


def count(number: int) -> Iterator[int]:
    """Yield."""
    yield from range(number)


def hang(seconds: float) -> str:
    """Wait, in a way that an exception ends."""
    threading.Event().wait(seconds)
    return "done"


def hang_and_mark(path: str) -> str:
    """Say when it is stopped."""
    try:
        time.sleep(600)
    finally:
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - as steps are written
            file.write("stopped")
    return "done"


class Unreadable:
    """Can be written, and not read again by the program."""

    def __reduce__(self) -> tuple[object, ...]:
        """As a class whose constructor changed."""
        return only_in, (os.getpid(),)


def only_in(process: int) -> int:
    """Refuse to be called in another process."""
    if process != os.getpid():
        raise TypeError("made elsewhere")
    return process


def odd(what: str) -> object:
    """Give what cannot go to another process."""
    return {"lock": threading.Lock(), "unreadable": Unreadable()}.get(what, what)


def odd_items(what: str) -> Iterator[object]:
    """Yield it."""
    yield "first"
    yield odd(what)


class Together(Model):
    """Is loaded only when another of it is being loaded, too."""

    def load(self) -> None:
        """Wait for the others."""
        folder = Path(os.environ["TOGETHER"])
        (folder / str(os.getpid())).touch()
        end = time.monotonic() + 20
        while len(list(folder.iterdir())) < 2:
            if time.monotonic() > end:
                raise TimeoutError("it is alone")
            time.sleep(0.01)

    @task
    def where(self, value: object) -> int:
        """The process it ran in."""
        del value
        return os.getpid()
