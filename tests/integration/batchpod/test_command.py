"""`pillion batch` runs the manifest that a cluster runs."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.models import IrisModels

EXAMPLE = Path(__file__).parents[3] / "examples" / "iris"


def batch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pillion.cli.main", "batch", "-f", "batchprediction.yaml", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def example(tmp_path: Path, iris: IrisModels) -> Path:
    folder = tmp_path / "iris"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.skops", "predicted"))
    shutil.copy(iris.skops, folder / "iris.skops")
    return folder


def test_the_example_runs_as_it_stands_and_goes_on_where_it_was(example: Path) -> None:
    first = batch(example)
    again = batch(example, "--json")

    assert 0 == first.returncode, first.stderr
    assert "3 rows have a prediction" == first.stdout.splitlines()[0]
    rows = list(csv.DictReader((example / "flowers/predicted/flowers/part-00000.csv").read_text().splitlines()))
    assert [("f1", "0"), ("f2", "1"), ("f3", "2")] == [(row["id"], row["prediction"]) for row in rows]
    assert {"read": 3, "written": 3, "failed": 0} == json.loads(again.stdout)["rows"]


def test_another_manifest_does_not_write_among_its_files(example: Path) -> None:
    manifest = example / "batchprediction.yaml"
    assert 0 == batch(example).returncode
    manifest.write_text(manifest.read_text().replace("idField: id", "exclude: [id]"))

    other = batch(example)

    assert 1 == other.returncode
    assert "create a BatchPrediction of another name" in other.stderr


@pytest.mark.parametrize(
    ("before", "after", "code", "says"),
    [
        ("configmap://iris", "configmap://rose", 2, "--map configmap://rose=PATH"),
        ("pvc://flowers/rows.csv", "pvc://roses/rows.csv", 2, "--map pvc://roses=PATH"),
        ("pvc://flowers/rows.csv", "pvc://flowers/none.csv", 1, "names no file"),
        ("kind: BatchPrediction", "kind: BatchPredictions", 2, "BatchPrediction"),
        ("input:", "inputs:", 2, "did you mean"),
    ],
)
def test_what_is_wrong_is_a_sentence(example: Path, before: str, after: str, code: int, says: str) -> None:
    manifest = example / "batchprediction.yaml"
    manifest.write_text(manifest.read_text().replace(before, after))

    found = batch(example)

    assert (code, "") == (found.returncode, found.stdout)
    assert says in found.stderr
    assert "Traceback" not in found.stderr


def test_a_service_needs_an_address_here(example: Path) -> None:
    manifest = example / "batchprediction.yaml"
    text = manifest.read_text()
    model = text[text.index("  model:") : text.index("  input:")]
    manifest.write_text(text.replace(model, "  inferenceService: iris\n"))

    found = batch(example)

    assert 2 == found.returncode
    assert "--url" in found.stderr
