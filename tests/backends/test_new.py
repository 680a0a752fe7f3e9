"""New projects of the templates `torch` and `llm` work as they stand: made, trained, tested, served and called."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pillion.cli.new import NEXT
from tests.unit.cli.command import PORTS, pillion, serving

if TYPE_CHECKING:
    from pathlib import Path

TRAINED = {
    "torch": ("train.py", "wrote points.safetensors (162 parameters)"),
    "llm": ("tiny.py", "wrote tiny/ (19 words, loss 0.0"),
}


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=TRAINED)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The template's name, and a trained project called points."""
    template: str = request.param
    folder = tmp_path_factory.mktemp("new") / "points"
    made = pillion("new", "points", "--template", template, "--into", str(folder))
    assert (0, True) == (made.returncode, NEXT[template].format(folder=folder, name="points") in made.stdout)
    script, printed = TRAINED[template]
    assert printed in run(folder, script)
    return template, folder


def test_its_own_test_passes(project: tuple[str, Path]) -> None:
    assert "passed" in run(project[1], "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(project[1]))


def test_it_is_served_as_it_says_and_answers_the_call_in_its_readme(project: tuple[str, Path]) -> None:
    template, folder = project
    _, _, command = NEXT[template].format(folder=folder, name="points").partition("pillion serve ")
    call = re.search(r"`(curl [^`]*)`", (folder / "README.md").read_text())
    assert call is not None
    with serving(*command.split(), *PORTS, cwd=folder) as lines:
        http = lines[0].partition("http://")[2].partition("/docs")[0]
        asked = call[1].replace("127.0.0.1:8080", http)
        done = subprocess.run(asked, shell=True, capture_output=True, text=True, check=True, timeout=30)
        answer: Any = json.loads(done.stdout)
        assert lines[1].startswith("try: curl --json")
    if template == "torch":
        (prediction,) = answer["predictions"]
        assert (1, 2) == (prediction["label"], len(prediction["odds"]))
    else:
        assert answer["choices"][0]["text"].startswith("time a model learned one sentence by heart")


def test_its_code_is_clean_by_the_rules_that_most_projects_use(project: tuple[str, Path]) -> None:
    common = ("--isolated", "--no-cache", "--line-length=120")
    run(project[1], "-m", "ruff", "check", *common, "--select=E,F,I,UP,B", ".")
    run(project[1], "-m", "ruff", "format", *common, "--check", ".")
