"""Who has a ratio: the comparisons with servers that answer right, answer wrong, or do not come up."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bench.compare import Measurement, compare
from bench.contestants import LIMIT, OURS, Contestant
from bench.load import Load
from bench.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def wrong() -> None:
    raise ValueError("answered [1], not [0]")


def contestant(
    name: str, folder: Path, check: Callable[[], None] = lambda: None, program: str = "input()"
) -> Contestant:
    """A process that only waits; ``check`` says what it is taken to answer."""
    process = Process(name, [sys.executable, "-c", "import time; time.sleep(60)"], 0, folder / f"{name}.log")
    return Contestant(name, process, "nowhere", b"", check, ready=lambda: True)


def load(one: Contestant, seconds: int) -> Load:
    rate = {OURS: 300, LIMIT: 100, "slow": 50}.get(one.name, 100)
    return Load(rate * seconds, float(seconds), 1.0, 2.0, failures=1 if one.name == "fails" else 0)


def run(*contestants: Contestant) -> tuple[dict[str, list[Measurement]], dict[str, str], float]:
    said: list[str] = []
    result = compare("", contestants, load, rounds=2, seconds=1, warm_up=1, say=said.append)
    return result.rounds, result.refused, result.ratio(OURS, LIMIT).median


def both(folder: Path) -> tuple[Contestant, Contestant]:
    return contestant(OURS, folder), contestant(LIMIT, folder)


def test_the_ratio_is_that_of_the_rounds(tmp_path: Path) -> None:
    rounds, refused, ratio = run(*both(tmp_path), contestant("slow", tmp_path))

    assert (3.0, {}) == (ratio, refused)
    assert {OURS: 2, LIMIT: 2, "slow": 2} == {name: len(measured) for name, measured in rounds.items()}


def test_a_peer_that_answers_wrong_has_no_ratio_and_the_others_go_on(tmp_path: Path) -> None:
    rounds, refused, _ = run(*both(tmp_path), contestant("liar", tmp_path, wrong))

    assert {"liar": "ValueError: answered [1], not [0]"} == refused
    assert {OURS, LIMIT} == set(rounds)


def test_a_peer_that_fails_a_request_has_no_ratio(tmp_path: Path) -> None:
    _, refused, _ = run(*both(tmp_path), contestant("fails", tmp_path))

    assert {"fails": "ValueError: fails failed 1 of 100 requests"} == refused


def test_a_wrong_answer_of_the_yardstick_ends_the_run(tmp_path: Path) -> None:
    ours = contestant(OURS, tmp_path)

    with pytest.raises(ValueError, match="not \\[0\\]"):
        run(ours, contestant(LIMIT, tmp_path, wrong))
