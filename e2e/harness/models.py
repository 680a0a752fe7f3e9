"""Small real models, trained on the iris data that ships with scikit-learn, in the formats that scenarios store."""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
from dataclasses import dataclass

#: A flower of the first class: sepal length and width, petal length and width in cm.
SETOSA = (5.1, 3.5, 1.4, 0.2)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file: its name, its bytes, and the class it gives SETOSA."""

    name: str
    content: bytes
    answer: int

    @property
    def digest(self) -> str:
        """The digest as a manifest states it."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"


@functools.cache
def iris(*, shift: int = 0, rows: int | None = None) -> Artifact:
    """Return a logistic regression as a skops file; `shift` adds to every class, which tells two models apart."""
    import skops.io

    return Artifact("model.skops", skops.io.dumps(_trained(shift, rows)), shift)


@functools.cache
def pickled_iris() -> Artifact:
    """Return the same model as a pickle, which could run code on loading."""
    return Artifact("model.pkl", pickle.dumps(_trained(0, None)), 0)


@functools.cache
def joblib_iris() -> Artifact:
    """Return the same model as joblib writes it, which is a pickle too."""
    import joblib

    written = io.BytesIO()
    joblib.dump(_trained(0, None), written)
    return Artifact("model.joblib", written.getvalue(), 0)


def corrupt_iris() -> Artifact:
    """Return a skops file cut off in the middle."""
    whole = iris()
    return Artifact(whole.name, whole.content[: len(whole.content) // 2], whole.answer)


def _trained(shift: int, rows: int | None) -> object:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, classes = load_iris(return_X_y=True)
    return LogisticRegression(max_iter=1000).fit(features[:rows], classes[:rows] + shift)
