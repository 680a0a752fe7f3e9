"""The example of ``examples/composition``, as a program and as a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pillion
from tests.integration.own_python.program import serving
from tests.waiting import until_now

EXAMPLES = Path(__file__).parents[3] / "examples" / "composition"
DESK = EXAMPLES.parent / "models-of-models"


def test_the_example_runs_without_a_server() -> None:
    done = subprocess.run(
        [sys.executable, "triage.py"], cwd=EXAMPLES, capture_output=True, text=True, check=True, timeout=60
    )
    assert ["'GOOD morning': happy", "'bad, bad, bad ': sad"] == done.stdout.splitlines()


def test_the_example_is_served() -> None:
    with serving(EXAMPLES, "triage.py:triage") as program:
        assert (200, "happy") == program.curl("/triage", {"text": "GOOD morning"})
        # Clean, opinions, its two members and combine.
        until_now(lambda: program.gauge("pillion_step_seconds_count") == 5)


def test_a_model_calls_others_and_a_service_that_may_fail() -> None:
    classes = [f"desk.py:{name}" for name in ("Mood", "Length", "Desk")]
    with serving(DESK, *classes) as program:
        assert (200, {"answer": "2 words, happy"}) == program.curl("/answer", {"text": "good morning"})

    class Translator(pillion.Model):
        """Of the other service."""

        @pillion.task
        def translate(self, text: str) -> str:
            """Into capitals."""
            return text.upper()

    with (
        pillion.serve(Translator, blocking=False) as other,
        serving(DESK, *classes, TRANSLATOR=other.url) as program,
    ):
        assert (200, {"answer": "1 WORDS, SAD"}) == program.curl("/answer", {"text": "bad"})
        other.stop()
        status, answer = program.curl("/answer", {"text": "bad"})
    assert (200, "1 words, sad") == (status, answer["answer"])
    assert f"service {other.url}" in answer["not translated"]
