"""An estimator whose calls can be held and let go by a test, saved and loaded like any other.

Rows whose first value is less than 1 or NaN (what loading and warm-up send) pass at once. The others count in, wait
until the gate of that name is opened, and count out. A value of -1 raises what the gate holds in ``error``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Gate", "Gated", "gate", "save", "value"]

_GATES: dict[str, Gate] = {}


class Gate:
    """What a test sees of the calls that are inside the model."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.entered = 0
        self.inside = 0
        self.opened = False
        self.error: BaseException | None = None

    def pass_through(self) -> None:
        """Called by the model."""
        with self.changed:
            self.entered += 1
            self.inside += 1
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: self.opened, timeout=60):
                raise TimeoutError("the test never opened the gate")
            self.inside -= 1
            self.changed.notify_all()

    def open(self) -> None:
        """Let every call go on, now and later."""
        with self.changed:
            self.opened = True
            self.changed.notify_all()


def gate(name: str) -> Gate:
    """The gate of that name, made on first use."""
    return _GATES.setdefault(name, Gate())


class Gated:
    """Quacks like a fitted regressor of one feature: answers ``factor`` times the value."""

    n_features_in_ = 1

    def __init__(self, name: str, factor: float = 1.0) -> None:
        self.name = name
        self.factor = factor

    def fit(self, *_: Any) -> Gated:
        """Here because estimators have it."""
        return self

    def predict(self, rows: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
        """See the module's docstring."""
        first = float(rows[0, 0])
        mine = gate(self.name)
        if (rows[:, 0] == -1).any() and mine.error is not None:
            raise mine.error
        if abs(first) >= 1:
            mine.pass_through()
        return np.asarray(rows[:, 0] * self.factor)


def save(folder: Path, name: str, factor: float = 1.0) -> Path:
    """Write a gated model below ``folder``; it needs ``allow_pickle``."""
    path = folder / f"{name}-{factor:g}.joblib"
    joblib.dump(Gated(name, factor), path)
    return path


def value(number: float) -> Tensor:
    """One row with that value."""
    return Tensor("input", Datatype.FP64, np.array([[float(number)]]))
