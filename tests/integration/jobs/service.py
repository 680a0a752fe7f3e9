"""The class that these tests serve and train. It is no test: a server imports it from a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator  # noqa: TC003 - the server reads annotations at run time
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from pillion import File, Model, Run, Stream, task, train


class Example(BaseModel):
    text: str
    label: int


class Mood(Model):
    def load(self, artifact: Path | None = None) -> None:
        self.score = {"good": 1, "bad": -1}
        if artifact is not None:
            self.score = json.loads((Path(artifact) / "score.json").read_text())
            if "unloadable" in self.score:
                raise ValueError("these scores cannot be used")

    def save(self, path: Path) -> None:
        (path / "score.json").write_text(json.dumps(self.score))

    @task
    def classify(self, text: str, seconds: float = 0.0) -> int:
        with Path(__file__).with_name("calls").open("a") as calls:
            calls.write(f"{text}\n")
        while text.startswith("held") and not Path(__file__).with_name("release").exists():
            time.sleep(0.01)
        time.sleep(seconds)
        return sum(self.score.get(word, 0) for word in text.split())

    @task
    def count(self, n: int) -> Iterator[int]:
        yield from range(n)

    @task
    def spin(self) -> Iterator[str]:
        while True:
            yield "x" * 10_000

    @task
    def refuse(self, text: str) -> int:
        raise ValueError(f"cannot take {text}")

    @task
    def die(self, how: str) -> int:
        _misbehave(how)
        return 0

    @task
    def many(self, n: int) -> list[int]:
        return list(range(n))

    @task
    def louder(self, sound: File, times: int = 2) -> File:
        return File(sound.read() * times, filename=f"grün {sound.filename}", media_type=sound.media_type)

    @train
    @classmethod
    def fit(cls, data: Stream[Example], epochs: int = 2, seconds: float = 0.0, how: str = "", *, run: Run) -> Self:
        """Learn which words are good."""
        model, first = cls(), 0
        model.score = {}
        if (found := run.restore()) is not None:
            model.load(found.path)
            first = found.state["epoch"] + 1
        escapes = how == "escape"  # from the group, and one of two from the environment as well
        child = subprocess.Popen(["sleep", "1000"], start_new_session=escapes) if how == "child" or escapes else None
        if escapes:
            subprocess.run(["setsid", "-f", "sleep", f"1001.{os.getpid()}"], env={}, check=True)
        print(f"process {os.getpid()} {'' if child is None else child.pid}", flush=True)  # noqa: T201 - into the training's log
        print(f"begins with epoch {first}", flush=True)  # noqa: T201 - into the training's log
        for epoch in range(first, epochs):
            for one in data:
                for word in one.text.split():
                    model.score[word] = model.score.get(word, 0) + one.label
            _misbehave(how)
            run.log(loss=1 / (epoch + 1))
            run.checkpoint(model, epoch=epoch)
            run.progress((epoch + 1) / epochs)
            end = time.monotonic() + seconds
            while time.monotonic() < end and not (run.cancelled and how != "child"):
                time.sleep(0.005)
            if run.cancelled:
                break
        return model


def _misbehave(how: str) -> None:
    if how == "exit":
        raise SystemExit(3)
    if how == "raise":
        raise KeyError("missing")
    if how == "crash":
        os.abort()
    if how == "leave":
        os._exit(7)
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "memory":
        bytearray(1 << 62)  # more than there are addresses: refused also where memory is overcommitted
