"""The class that these tests serve. It is no test: a server imports it from a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator  # noqa: TC003 - the server reads annotations at run time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image  # noqa: TC002 - as above

from pillion import File, Model, Run, task, train


@dataclass
class Label:
    name: str
    score: float = 1.0


class Mood(Model):
    @task
    def classify(self, text: str, top_k: int = 1, mode: Literal["a", "b"] = "a") -> list[Label]:
        """The labels of a text."""
        return [Label(text)] * top_k

    @task
    def rename(self, label: Label, names: dict[str, int] | None = None) -> Label:
        return Label(label.name.upper(), len(names or {}))

    @task
    def flip(self, audio: File, loud: bool = False) -> File:  # noqa: FBT001 - a parameter of a task
        content = audio.read()[::-1]
        return File(content.upper() if loud else content, filename="flipped.txt", media_type="text/plain")

    @task
    def size(self, image: Image.Image) -> list[int]:
        return list(image.size)

    @task
    def count(self, to: int, fail: bool = False) -> Iterator[int]:  # noqa: FBT001 - as above
        try:
            yield from range(to)
            if fail:
                raise ValueError("cannot count further")
        finally:
            Path("counted").write_text("over")

    @task
    def nap(self, seconds: float) -> str:
        with Path("naps").open("a") as naps:
            naps.write("nap\n")
        time.sleep(seconds)
        return "rested"

    @train
    @classmethod
    def learn(cls, run: Run, epochs: int = 2, gate: str = "") -> Mood:
        """After the first epoch of its first run it waits for a file, where one is named."""
        begun = Path(f"{gate}.begun")
        waits = bool(gate) and not begun.exists()
        if waits:
            begun.touch()
        for epoch in range(epochs):
            run.log(loss=1 / (epoch + 1))
            print(f"epoch {epoch}", flush=True)  # noqa: T201 - what a training prints is looked at
            run.progress((epoch + 1) / epochs)
            while waits and not Path(gate).exists():
                time.sleep(0.01)
        return cls()

    def save(self, path: Path) -> None:
        (path / "mood.txt").write_text("fine")
