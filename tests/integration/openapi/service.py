"""The class that is fuzzed. It is no test: a server imports it from a folder of its own."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - the server reads annotations at run time
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - as above
from enum import Enum
from pathlib import Path  # noqa: TC003 - as above
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - as above
from pydantic import BaseModel, Field

from pillion import File, Model, Run, Stream, task, train

Count = Annotated[int, Field(ge=-(2**31), le=2**31)]
"""A form is text, of which no larger number is read."""


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: Count


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str
    colour: Colour | None = None


class Page(BaseModel):
    title: str
    words: list[str] = []
    scores: dict[str, float] = {}
    seal: bytes = b""
    next: Page | None = None


class Example(BaseModel):
    text: str
    label: int


class Shop(Model):
    def load(self) -> None:
        self.loaded = True

    def save(self, path: Path) -> None:
        (path / "weights.txt").write_text("1")

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.nan_to_num(rows)

    @task
    def greet(self, name: str, times: Count = 1, *, loud: bool = False) -> str:
        return (name.upper() if loud else name) * max(0, min(times, 5))

    @task
    def paint(self, pet: Cat | Dog, colour: Colour, ratio: float = 0.5) -> Page:
        return Page(title=colour.value, words=[pet.kind], scores={"ratio": ratio})

    @task
    def turn(self, page: Page, when: dt.datetime | None = None) -> list[Page]:
        return [page, Page(title="" if when is None else str(when.year))]

    @task
    def halve(self, number: Count) -> float:
        return number / 2

    @task
    def louder(self, sound: File, times: Count = 2) -> File:
        return File(sound.read() * max(0, min(times, 3)), filename="louder.wav", media_type="audio/wav")

    @task
    def weigh(self, raw: bytes, page: Page | None = None) -> int:
        return len(raw)

    @task
    def spell(self, text: str) -> Iterator[str]:
        yield from text[:20]

    @task
    async def pages(self, count: Count) -> AsyncIterator[Page]:
        for number in range(min(count, 5)):
            yield Page(title=str(number))

    @task
    def add(self, numbers: Iterator[int]) -> int:
        return sum(numbers)

    def generate(self, prompt: str, max_tokens: int = 3) -> Iterator[str]:
        yield from prompt[: max(0, min(max_tokens, 10))]

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text))] for text in texts]

    @train
    @classmethod
    def fit(cls, data: Stream[Example], epochs: Annotated[int, Field(ge=1, le=3)] = 1, *, run: Run) -> Self:
        """Count the examples."""
        for epoch in range(epochs):
            run.log(examples=float(sum(1 for _ in data)), epoch=float(epoch))
        return cls()
