"""``--reload``: editing files while they are served."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program

SERVICE = """
import words
from pillion import Model, task

class Mood(Model):
    @task
    def classify(self, text: str) -> int:
        return words.SCORE.get(text, 0)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "words.py").write_text("SCORE = {'good': 1}\n")
    (tmp_path / "service.py").write_text(SERVICE)
    with serving(tmp_path, "service.py:Mood", "--reload") as program:
        assert (200, 1) == program.curl("/classify", {"text": "good"})
        yield program


def answers(program: Program, expected: object, body: object = None) -> None:
    """Wait until the task gives ``expected``."""
    until_now(lambda: program.curl("/classify", body or {"text": "good"}) == (200, expected))


def test_an_edit_of_a_helper_takes_effect_without_a_failed_request(program: Program, tmp_path: Path) -> None:
    seen: set[tuple[int, int]] = set()
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client() as client:
            while not stop.is_set():
                answer = client.post(program.url("/classify"), json={"text": "good"})
                seen.add((answer.status_code, answer.json()))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for score in range(2, 6):
            # Of one length, and often within one second: what a cached file would be mistaken about.
            (tmp_path / "words.py").write_text(f"SCORE = {{'good': {score}}}\n")
            answers(program, score)
    finally:
        stop.set()
        asking.join()
    assert {(200, score) for score in range(1, 6)} >= seen
    assert {200} == {status for status, _ in seen}
    program.wait_for("reloaded mood in")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SCORE = {'good': \n\n}}\n", "words.py:3: SyntaxError: unmatched '}'"),
        ("import nothing_of_that_name\n", "words.py:1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("SCORE = undefined\n", "words.py:1: NameError: name 'undefined' is not defined"),
    ],
)
def test_code_that_cannot_be_imported_leaves_the_old_one_serving(
    program: Program, tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "words.py").write_text(text)
    program.wait_for(told)
    program.wait_for("the former model serves on")
    assert (200, 1) == program.curl("/classify", {"text": "good"})
    (tmp_path / "words.py").write_text("SCORE = {'good': 7}\n")
    answers(program, 7)


def test_a_module_that_was_missing_is_found_when_it_appears(program: Program, tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("from more import SCORE\n")
    program.wait_for("No module named 'more'")
    (tmp_path / "more.py").write_text("SCORE = {'good': 9}\n")
    answers(program, 9)


def test_a_new_signature_is_served_and_described(program: Program, tmp_path: Path) -> None:
    changed = SERVICE.replace("text: str)", "text: str, times: int = 2)").replace(", 0)", ", 0) * times")
    (tmp_path / "service.py").write_text(changed)
    answers(program, 2)
    answers(program, 5, {"text": "good", "times": 5})
    _, document = program.curl("/openapi.json")
    assert "times" in json.dumps(document["components"]["schemas"]["ClassifyArguments"])


def test_a_class_that_can_no_longer_be_served_is_refused_and_the_old_one_stays(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(SERVICE.replace("    @task\n", ""))
    program.wait_for("Mood has neither predict nor a task")
    assert (200, 1) == program.curl("/classify", {"text": "good"})


def test_an_edit_takes_effect_in_worker_processes_too(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("SCORE = {'good': 1}\n")
    (tmp_path / "service.py").write_text(SERVICE)
    processes = ("--executor", "process", "--processes", "1")
    with serving(tmp_path, "service.py:Mood", "--reload", *processes) as program:
        for score in range(1, 4):
            (tmp_path / "words.py").write_text(f"SCORE = {{'good': {score}}}\n")
            answers(program, score)
