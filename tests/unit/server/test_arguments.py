"""The arguments of ``python -m pillion.server``, read without argparse where there is nothing to explain."""

from __future__ import annotations

import pytest

from pillion.server.__main__ import plain


def test_known_flags_with_their_values_need_no_parser() -> None:
    given = ["--config", "runtime.yaml", "--http-port=8000", "--log-level", "debug"]
    assert {"config": "runtime.yaml", "http.port": "8000", "log.level": "debug"} == plain(given)


def test_no_arguments_need_no_parser() -> None:
    assert {} == plain([])


@pytest.mark.parametrize(
    "given",
    [
        ["--help"],
        ["--nonsense", "1"],
        ["runtime.yaml"],
        ["--http-port"],
        ["--http-port", "--config", "x"],
        ["--config="],
    ],
)
def test_questions_and_mistakes_are_left_to_the_parser(given: list[str]) -> None:
    assert plain(given) is None
