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

TOKEN = "only-for-trainers"
EXAMPLE = Path(__file__).parents[3] / "examples" / "digits"


def asked(program: Program, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*PILLION, *arguments, "--url", program.url()]
    return subprocess.run(command, env=environment(**variables), capture_output=True, text=True, check=False)


def pillion(program: Program, *arguments: str) -> str:
    done = asked(program, *arguments, PILLION_MANAGEMENT__TOKEN=TOKEN)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_digits_are_learnt_and_recognized(tmp_path: Path) -> None:
    data = tmp_path / "digits.jsonl"
    with data.open("w") as lines:
        subprocess.run([sys.executable, EXAMPLE / "data.py"], stdout=lines, check=True)
    first = json.loads(data.read_text().splitlines()[0])
    settings = {"PILLION_JOBS__ROOTS": str(tmp_path), "PILLION_MANAGEMENT__TOKEN": TOKEN}
    with serving(EXAMPLE, "digits.py:Digits", "--data-dir", str(tmp_path / "jobs"), **settings) as program:
        status, answer = program.curl("/recognize", {"pixels": first["pixels"]})
        assert (400, True) == (status, "it has learnt nothing yet" in answer["details"])
        printed = pillion(program, "train", "digits", "--data", str(data), "--set", "epochs=2").splitlines()
        identity = printed[0].removeprefix("training ")
        listed = pillion(program, "jobs", "list")
        assert 0 != asked(program, "jobs", "list").returncode, "without the token"
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
