"""A model that takes two milliseconds of processor, whatever it gets: what the overload row is measured on."""

from __future__ import annotations

import time

import numpy as np  # noqa: TC002 - read from the signature
from numpy.typing import NDArray  # noqa: TC002 - read from the signature

from pillion import Model

SECONDS = 0.002


class Busy(Model):
    """Gives back what it gets, after :data:`SECONDS` of processor time of its thread."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        until = time.thread_time() + SECONDS
        while time.thread_time() < until:
            pass
        return x
