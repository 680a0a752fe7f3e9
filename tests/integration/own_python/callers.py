"""Models that call each other, from plain and ``async`` methods."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator  # noqa: TC003 - hints of tasks are read at run time
from pathlib import Path

import numpy as np  # noqa: TC002 - as above
from numpy.typing import NDArray  # noqa: TC002 - as above

import pillion
from pillion import Batch, Model, task

SEEN = Path(os.environ.get("SEEN", "/nonexistent"))


class Words(Model):
    """Called by others."""

    @task
    def count(self, text: str) -> dict[str, int]:
        """How many, and by which process."""
        return {"words": len(text.split()), "pid": os.getpid()}

    @task
    async def wait(self, seconds: float) -> str:
        """Notes what becomes of it."""
        (SEEN / "begun").touch()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            (SEEN / "cancelled").touch()
            raise
        return "done"

    @task
    def hold(self, seconds: float) -> str:
        """The same in plain code: a worker process is stopped, a thread asks."""
        (SEEN / "begun").touch()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and not pillion.cancelled():
                time.sleep(0.005)
        finally:
            if time.monotonic() < end:
                (SEEN / "cancelled").touch()
        return "done"

    @task
    async def spell(self, text: str) -> AsyncIterator[str]:
        """One letter after the other."""
        try:
            for letter in text:
                yield letter
                await asyncio.sleep(0)
        finally:
            (SEEN / "closed").touch()


class Halves(Model):
    """Arrays."""

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half of it."""
        return x / 2


class Desk(Model):
    """Calls others."""

    @task
    def plain(self, text: str) -> dict[str, int]:
        """From a thread, or a worker's main thread."""
        return {"desk": os.getpid(), **pillion.models["words"].task("count", text=text).result()}

    @task
    async def both(self, text: str) -> list[int]:
        """Two at a time, on the loop."""
        words = pillion.models["words"]
        counts = await asyncio.gather(*(words.task("count", text=one) for one in (text, text + " more")))
        return [one["words"] for one in counts]

    @task
    async def threaded(self, text: str) -> int:
        """From a thread of its own making."""
        answer = await asyncio.to_thread(lambda: pillion.models["words"].task("count", text=text).result())
        return int(answer["words"])

    @task
    async def waits(self, how: str) -> str:
        """For long."""
        return str(await pillion.models["words"].task(how, seconds=60.0))

    @task
    def holds(self, how: str) -> str:
        """The same in plain code."""
        return str(pillion.models["words"].task(how, seconds=60.0).result())

    @task
    async def spelled(self, text: str, letters: int) -> str:
        """Reads some of a stream."""
        read = ""
        stream = pillion.models["words"].stream("spell", text=text)
        async for letter in stream:
            read += letter
            if len(read) == letters:
                break
        await stream.aclose()
        return read

    @task
    async def spelling(self, text: str) -> AsyncIterator[str]:
        """Hands a stream on."""
        async for letter in pillion.models["words"].stream("spell", text=text):
            yield letter.upper()

    @task
    def halved(self, x: list[float]) -> list[float]:
        """Arrays there and back."""
        return [float(one) for one in pillion.models["halves"].predict(x).result()]

    @task(batch=Batch(max_size=4))
    def many(self, text: list[str]) -> list[int]:
        """For many requests at once."""
        return [int(pillion.models["words"].task("count", text=one).result()["words"]) for one in text]

    @task
    def wrong(self) -> str:
        """What the other refuses."""
        return str(pillion.models["words"].task("count", text=5).result())

    @task
    def itself(self) -> str:
        """A way back to where it came from."""
        return str(pillion.models["desk"].task("itself").result())

    @task
    async def around(self) -> str:
        """The same over another model."""
        return str(await pillion.models["corner"].task("back"))


class Corner(Model):
    """Calls back."""

    @task
    async def back(self) -> str:
        """To the desk."""
        return str(await pillion.models["desk"].task("around"))
