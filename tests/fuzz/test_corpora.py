"""Inputs that the fuzzer began with, and those that once broke a codec, through the same targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, attempt

CORPUS = Path(__file__).parent / "corpus"
KEPT = sorted(path.relative_to(CORPUS) for path in CORPUS.glob("*/*"))


def test_every_target_has_inputs_to_begin_with() -> None:
    assert set(TARGETS) == {path.parts[0] for path in KEPT}


@pytest.mark.parametrize("path", KEPT, ids=str)
def test_a_kept_input_is_decoded_or_refused(path: Path) -> None:
    attempt(path.parts[0], (CORPUS / path).read_bytes())
