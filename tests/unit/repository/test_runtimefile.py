"""What the runtime's file refuses, by the field."""

from __future__ import annotations

import json

import pytest

from pillion.runtimefile import RuntimeFileError, load


def loading(**execution: object) -> None:
    model = {"name": "m", "path": "p", "execution": execution}
    load(json.dumps({"apiVersion": "runtime.pillion.dev/v1", "models": [model]}), source="runtime.yaml")


@pytest.mark.parametrize(
    ("cpus", "sentence"),
    [
        ("all", "'all' is no list of CPUs: write numbers and ranges, as in 0-3,8"),
        ("", "'' is no list of CPUs"),
        ("0-3;", "'0-3;' is no list of CPUs"),
        ("3-1", "'3-1' is no range of CPUs: they ascend, to 8191 at most"),
        ("0-99999", "'0-99999' is no range of CPUs"),
    ],
)
def test_lists_of_cpus_that_nobody_could_read_are_refused(cpus: str, sentence: str) -> None:
    with pytest.raises(RuntimeFileError) as refused:
        loading(cpus=cpus)
    assert str(refused.value).startswith(f"runtime.yaml: models.0.execution: cpus: {sentence}")


def test_lists_of_cpus_are_taken() -> None:
    loading(cpus="0-3,8; 9")
