"""Asking a server for its jobs, as a client does."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.integration.own_python.program import serving
from tests.waiting import WITHIN, until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program

__all__ = ["ENDED", "ended", "served", "state", "submit", "train"]

ENDED = ("COMPLETED", "CANCELED", "ERRORED")


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[Program]:
    """The class of :mod:`tests.integration.jobs.service`, its jobs in ``folder`` or in the database of the settings."""
    folder.mkdir(exist_ok=True)
    if not (folder / "service.py").exists():
        shutil.copy(Path(__file__).with_name("service.py"), folder / "service.py")
    where = ("--data-dir", str(folder / "data")) if "PILLION_JOBS__DATABASE" not in settings else ()
    with serving(folder, "service.py:Mood", *where, **settings) as program:
        yield program


def submit(program: Program, task: str, inputs: object, *options: str, **parameters: object) -> str:
    """Its id."""
    body = {"inputs": inputs, "parameters": parameters}
    status, answer = program.curl(f"/api/v1/task/{task}/job", body, *options)
    assert 202 == status, answer
    identity: str = answer["prediction_id"]
    return identity


def train(program: Program, name: str = "mine", **parameters: object) -> str:
    """Its id."""
    data = {"data": [{"text": "nice day", "label": 1}], **parameters}
    status, answer = program.curl("/api/v1/ClassifyMoodTrain", {"model_name": name, "parameters": data})
    assert 202 == status, answer
    identity: str = answer["training_id"]
    return identity


def state(program: Program, identity: str) -> dict[str, Any]:
    """A job of either kind."""
    for path in (
        f"/management/trainings?training_id={identity}",
        f"/api/v1/task/classify/job?prediction_id={identity}",
    ):
        status, answer = program.curl(path)
        if status == 200:
            found: dict[str, Any] = answer
            return found
    raise AssertionError(json.dumps(answer))


def ended(program: Program, identity: str, seconds: float = WITHIN) -> dict[str, Any]:
    """A job when it has ended."""
    found: dict[str, Any] = {}

    def looked() -> bool:
        found.update(state(program, identity))
        return found["state"] in ENDED

    until_now(looked, seconds)
    return found
