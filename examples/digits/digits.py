"""Handwritten digits: a class that is served before it has learnt anything, trained in steps, and served again.

python data.py > digits.jsonl
pillion serve digits.py:Digits
pillion train digits --data digits.jsonl --set epochs=5
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - annotations are read at run time
from typing import Self

import numpy as np
import skops.io
from pydantic import BaseModel, Field
from sklearn.linear_model import SGDClassifier

from pillion import Model, Run, Stream, task, train


class Image(BaseModel):
    """Eight by eight grey pixels, and the digit that somebody meant."""

    pixels: list[float] = Field(min_length=64, max_length=64)
    digit: int = Field(ge=0, le=9)


class Digits(Model):
    def load(self, artifact: Path | None = None) -> None:
        self.classifier = SGDClassifier(random_state=0)
        self.trained = artifact is not None
        if artifact is not None:
            self.classifier = skops.io.load(artifact / "classifier.skops")

    def save(self, path: Path) -> None:
        skops.io.dump(self.classifier, path / "classifier.skops")

    @task
    def recognize(self, pixels: list[float]) -> int:
        """The digit in an image."""
        if not self.trained:
            raise ValueError("it has learnt nothing yet: POST /api/v1/RecognizeDigitsTrain")
        return int(self.classifier.predict(np.array([pixels]) / 16)[0])

    @train
    @classmethod
    def fit(cls, data: Stream[Image], epochs: int = 5, batch: int = 256, *, run: Run) -> Self:
        """Learn digits by stochastic gradient descent."""
        model, first = cls(), 0
        model.load()
        if (found := run.restore()) is not None:
            model.load(found.path)
            first = found.state["epoch"] + 1
        for epoch in range(first, epochs):
            right = seen = 0
            for images in data.batches(batch):
                pixels = np.array([image.pixels for image in images]) / 16
                digits = np.array([image.digit for image in images])
                if epoch or seen:
                    right += int((model.classifier.predict(pixels) == digits).sum())
                model.classifier.partial_fit(pixels, digits, classes=np.arange(10))
                seen += len(images)
            run.log(accuracy=right / max(1, seen))
            run.checkpoint(model, epoch=epoch)
            run.progress((epoch + 1) / epochs)
            if run.cancelled:
                break
        return model
