"""A training in steps that says where it began; what it learns is the sum of what it saw."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path  # noqa: TC003 - annotations are read at run time
from typing import Self

from pillion import Model, Run, Stream, task, train


class Steps(Model):
    def load(self, artifact: Path | None = None) -> None:
        self.total = 0 if artifact is None else int((artifact / "total").read_text())

    def save(self, path: Path) -> None:
        (path / "total").write_text(str(self.total))

    @task
    def total_of(self, times: int) -> int:
        return self.total * times

    @train
    @classmethod
    def fit(
        cls,
        data: Stream[int],
        epochs: int = 3,
        pause: float = 0.0,
        stand: int = -1,
        end: str = "",
        rest: float = 0.0,
        *,
        run: Run,
    ) -> Self:
        """With ``stand`` it waits behind that epoch until it is told to end."""
        model, first = cls(), 0
        model.load()
        if (found := run.restore()) is not None:
            model.load(found.path)
            first = found.state["epoch"] + 1
        print(f"began at epoch {first}", flush=True)  # noqa: T201 - it is what the test looks at
        for epoch in range(first, epochs):
            model.total += sum(data)
            run.log(total=model.total)
            run.checkpoint(model, epoch=epoch)
            run.progress((epoch + 1) / epochs)
            if end and epoch == 1:
                print("about to end badly", flush=True)  # noqa: T201 - as above
                if end == "raise":
                    raise ValueError("the second epoch went wrong")
                os.kill(os.getpid(), getattr(signal, end))
            deadline = time.monotonic() + (600.0 if epoch == stand else pause)
            while time.monotonic() < deadline:
                if run.cancelled:
                    return model
                time.sleep(0.01)
        print("all epochs are done", flush=True)  # noqa: T201 - as above
        time.sleep(rest)
        return model
