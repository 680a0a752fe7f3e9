"""A new project works as it stands: it trains, its test passes, its manifest is valid, and it is served."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pillion.cli.new import NEXT, render
from tests.unit.cli.command import PORTS, pillion, serving

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SETOSA = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained project called flowers."""
    folder = tmp_path_factory.mktemp("new") / "flowers"
    made = pillion("new", "flowers", "--template", "sklearn", "--into", str(folder))
    assert (0, True) == (made.returncode, "python train.py && pillion serve flowers.skops" in made.stdout)
    printed = _python(folder, "train.py")
    assert "wrote flowers.skops (4 columns, 3 classes)\n" == printed
    return folder


@pytest.fixture(scope="module")
def own_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a class."""
    folder = tmp_path_factory.mktemp("new") / "chat"
    made = pillion("new", "chat", "--template", "python", "--into", str(folder))
    assert (0, True) == (made.returncode, "pillion serve service.py:Mood --reload" in made.stdout)
    return folder


def test_its_own_test_passes(project: Path, own_class: Path) -> None:
    for folder in (project, own_class):
        _python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder))


def test_the_class_is_served_and_answers_the_call_in_its_readme(own_class: Path) -> None:
    call = re.search(r"`(curl [^`]*)`", (own_class / "README.md").read_text())
    assert call is not None
    with serving("service.py:Mood", *PORTS, cwd=own_class) as lines:
        http = lines[0].partition("http://")[2].partition("/docs")[0]
        command = call[1].replace("127.0.0.1:8080", http)
        answer = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=30)
        assert "1" == answer.stdout
        assert lines[1].startswith("try: curl --json")


def test_its_manifest_is_valid_and_finds_the_model_beside_it(project: Path) -> None:
    manifest = str(project / "inferenceservice.yaml")
    assert 0 == pillion("validate", "-f", manifest).returncode
    with serving("-f", manifest, *PORTS, cwd=project) as lines:
        assert lines[0].startswith("flowers ready in ")


def test_the_printed_call_has_the_example_row_and_is_answered(project: Path) -> None:
    with serving("flowers.skops", *PORTS, cwd=project) as lines:
        assert json.dumps({"instances": [SETOSA]}, separators=(",", ":")) in lines[1]
        answer = subprocess.run(
            lines[1].removeprefix("try: "), shell=True, capture_output=True, text=True, check=True, timeout=30
        )
        assert {"predictions": [0]} == json.loads(answer.stdout)


def test_its_code_is_clean_by_the_rules_that_most_projects_use(project: Path, own_class: Path) -> None:
    common = ("--isolated", "--no-cache", "--line-length=120")
    for folder in (project, own_class):
        _python(folder, "-m", "ruff", "check", *common, "--select=E,F,I,UP,B", ".")
        _python(folder, "-m", "ruff", "format", *common, "--check", ".")


def test_its_readme_has_five_lines() -> None:
    assert {5} == {len(render(template, "x")["README.md"].splitlines()) for template in NEXT}


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = pillion("new", "iris", "--into", str(tmp_path))
    assert (2, True) == (done.returncode, "is there already and not empty" in done.stderr)
    assert ["mine.txt"] == [file.name for file in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("My_Model",), "such as my-model"),
        (("x" * 60,), "at most 46"),
        (("iris", "--template", "cobol"), "there are sklearn, python, torch, llm"),
    ],
)
def test_what_cannot_be_made_says_why(arguments: Sequence[str], said: str, tmp_path: Path) -> None:
    done = pillion("new", *arguments, cwd=tmp_path)
    assert (2, True) == (done.returncode, said in done.stderr)
    assert [] == list(tmp_path.iterdir())


def _python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout
