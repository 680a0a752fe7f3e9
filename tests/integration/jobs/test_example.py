"""examples/digits: trained and asked for by the command line, then served with what it learnt."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.own_python.program import PILLION, serving
from tests.integration.server.process import environment

if TYPE_CHECKING:
    from tests.integration.own_python.program import Program

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits"


def pillion(program: Program, *arguments: str) -> str:
    done = subprocess.run(
        [*PILLION, *arguments, "--url", program.url()], env=environment(), capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_digits_are_learnt_and_recognized(tmp_path: Path) -> None:
    data = tmp_path / "digits.jsonl"
    with data.open("w") as lines:
        subprocess.run([sys.executable, EXAMPLE / "data.py"], stdout=lines, check=True)
    first = json.loads(data.read_text().splitlines()[0])
    with serving(EXAMPLE, "digits.py:Digits", "--data-dir", str(tmp_path / "jobs")) as program:
        status, answer = program.curl("/recognize", {"pixels": first["pixels"]})
        assert (400, True) == (status, "it has learnt nothing yet" in answer["details"])
        printed = pillion(program, "train", "digits", "--data", str(data), "--set", "epochs=2").splitlines()
        identity = printed[0].removeprefix("training ")
        listed = pillion(program, "jobs", "list")
        shown = json.loads(pillion(program, "jobs", "show", identity))
        pillion(program, "jobs", "logs", "-f", identity)
        ended = pillion(program, "jobs", "cancel", identity)

    assert printed[-1].startswith("digits version 1: ")
    assert 2 == sum(line.startswith("accuracy 0.") for line in printed)
    assert identity in listed
    assert "COMPLETED" == shown["state"]
    assert f"{identity} is COMPLETED\n" == ended
    artifact = printed[-1].removeprefix("digits version 1: ")
    with serving(EXAMPLE, "digits.py:Digits", "--artifact", artifact) as program:
        assert (200, first["digit"]) == program.curl("/recognize", {"pixels": first["pixels"]})
