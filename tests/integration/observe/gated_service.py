"""A class whose calls end when the test says so: when the file that they name is there."""

from __future__ import annotations

import time
from pathlib import Path

from pillion import Model, task


class Slow(Model):
    @task
    def wait(self, text: str) -> str:
        gate = Path(text)
        until = time.monotonic() + 30
        while not gate.exists() and time.monotonic() < until:
            time.sleep(0.005)
        return "done"
