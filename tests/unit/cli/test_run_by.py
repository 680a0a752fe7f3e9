"""``pillion serve --executor``."""

from __future__ import annotations

import pytest

from pillion.cli.failures import CommandError
from pillion.cli.targets import run_by
from pillion.runtimefile import DesiredModel, ExecutionSettings, RuntimeFile

FILE = RuntimeFile(models=(DesiredModel(name="m", path="m", execution=ExecutionSettings(max_queue=3)),))


def test_every_model_is_run_as_asked_and_keeps_its_other_settings() -> None:
    [model] = run_by(FILE, "process", 2).models
    assert ExecutionSettings(executor="process", processes=2, max_queue=3) == model.execution


def test_nothing_asked_changes_nothing() -> None:
    assert FILE is run_by(FILE, None, None)


@pytest.mark.parametrize(
    ("executor", "processes", "said"),
    [
        ("thred", None, "--executor thred: choose one of auto, inline, thread, process"),
        ("thread", 2, "--processes is for worker processes: --executor process"),
        (None, 2, "--processes is for worker processes: --executor process"),
    ],
)
def test_what_cannot_be_is_refused(executor: str | None, processes: int | None, said: str) -> None:
    with pytest.raises(CommandError, match=f"^{said}$"):
        run_by(FILE, executor, processes)
