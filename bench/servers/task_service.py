"""The same task as those of the peers, as a class for Pillion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field

from pillion import Model, task

WORTH = {"good": 1.0, "bad": -1.0}


class Options(BaseModel):
    top_k: int = Field(default=2, ge=1, le=10)
    threshold: float = 0.0
    tags: list[str] = []


@dataclass
class Label:
    name: str
    score: float


class Mood(Model):
    def labels(self, text: str, options: Options) -> list[Label]:
        found = [Label(word, WORTH.get(word, 0.0)) for word in text.split()]
        return [label for label in found if label.score >= options.threshold][: options.top_k]

    @task
    def classify(self, text: Annotated[str, Field(min_length=1)], options: Options | None = None) -> list[Label]:
        """In a thread."""
        return self.labels(text, options or Options())

    @task
    async def classify_soon(
        self, text: Annotated[str, Field(min_length=1)], options: Options | None = None
    ) -> list[Label]:
        """On the event loop."""
        return self.labels(text, options or Options())
