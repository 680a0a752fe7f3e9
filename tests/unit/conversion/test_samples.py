"""Manifests of the shapes that KServe's users have: what each becomes, and every word that is said of it.

Beside each `kserve/NAME.yaml` stand `NAME.converted.yaml` and `NAME.remarks`. To write them anew after a change that is
meant: `PILLION_WRITE_GOLDEN=1 pytest tests/unit/conversion`, and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from pillion.resources import validate
from pillion.resources.conversion import convert

FOLDER = Path(__file__).parent / "kserve"
SAMPLES = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.endswith(".converted.yaml"))
sample = pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)


@sample
def test_a_manifest_of_kserve_becomes_what_stands_beside_it(path: Path) -> None:
    conversion = convert([(path.name, path.read_text())])
    remarks = "".join(f"{remark}\n" for remark in conversion.remarks)
    if os.environ.get("PILLION_WRITE_GOLDEN"):
        path.with_suffix(".converted.yaml").write_text(conversion.text)
        path.with_suffix(".remarks").write_text(remarks)

    assert path.with_suffix(".converted.yaml").read_text() == conversion.text
    assert path.with_suffix(".remarks").read_text() == remarks


@sample
def test_what_comes_out_is_valid_and_is_what_the_text_says(path: Path) -> None:
    conversion = convert([(path.name, path.read_text())])

    assert [] == conversion.refused
    assert [] == validate(conversion.text)
    assert list(conversion.objects) == list(yaml.safe_load_all(conversion.text))


@sample
def test_converting_twice_changes_nothing_more(path: Path) -> None:
    once = convert([(path.name, path.read_text())])

    assert once.text == convert([(path.name, once.text)]).text


@sample
def test_no_comment_of_a_single_object_is_lost(path: Path) -> None:
    text = path.read_text()
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    removed = [remark.line for remark in convert([(path.name, text)]).remarks if remark.subject == "removed"]
    on_removed_lines = {text.splitlines()[line - 1].partition("#")[2] for line in removed}

    converted = convert([(path.name, text)]).text

    assert [] == [c for c in comments if c not in converted and c not in on_removed_lines]
