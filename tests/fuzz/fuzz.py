"""Fuzz one target with atheris: ``python fuzz.py TARGET CORPUS [libFuzzer's options]``. See ``make fuzz``."""

# atheris lives in an environment of its own, out of the type checker's sight.
# mypy: ignore-errors

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["pillion"]):
    from tests.fuzz.targets import attempt

target = sys.argv.pop(1)


def one_input(data: bytes) -> None:
    """Called for each input that the fuzzer makes up."""
    attempt(target, data)


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
