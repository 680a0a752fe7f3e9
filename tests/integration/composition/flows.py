"""Compositions that a server is told of by their module."""

from __future__ import annotations

from collections.abc import Iterator  # noqa: TC003 - hints of steps are read at run time

import numpy as np  # noqa: TC002 - as above
from numpy.typing import NDArray  # noqa: TC002 - as above

import pillion
from pillion import Model, task


class Mood(Model):
    """Loaded with its flow."""

    def load(self) -> None:
        """Learn."""
        self.words = {"good": 1, "bad": -1}

    @task
    def classify(self, text: str) -> int:
        """How good."""
        return sum(self.words.get(word, 0) for word in text.split())


def clean(text: str) -> str:
    """Lower case."""
    if not text:
        raise ValueError("the text is empty")
    return text.lower()


def letters(text: str) -> Iterator[str]:
    """One by one."""
    yield from text


def halved(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of it."""
    return x / 2


def word(score: int) -> str:
    """For people."""
    return "happy" if score > 0 else "sad"


triage = pillion.Sequential(clean, pillion.Process(Mood), word)
spell = pillion.Sequential(clean, letters)
scale = pillion.Sequential(halved, halved)
nested = pillion.Sequential(clean, pillion.Ensemble(pillion.Sequential(Mood, word, name="word"), clean, name="both"))
