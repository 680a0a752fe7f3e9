"""Which files of a project stay out of its image."""

from __future__ import annotations

import pytest

from pillion.image.ignore import Verdict, read_rules


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("service.py", Verdict.COPIED),
        ("words/good.txt", Verdict.COPIED),
        (".env", Verdict.SECRET),
        ("config/.env.production", Verdict.SECRET),
        ("tls/server.key", Verdict.SECRET),
        (".aws/credentials", Verdict.SECRET),
        (".env.example", Verdict.COPIED),
        ("a/__pycache__/b.cpython-311.pyc", Verdict.IGNORED),
        (".git/config", Verdict.IGNORED),
    ],
)
def test_clutter_and_secrets_stay_out_without_a_word(path: str, expected: Verdict) -> None:
    assert expected is read_rules("").verdict(path)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("data", "data/rows.csv", Verdict.IGNORED),
        ("/data/", "data/rows.csv", Verdict.IGNORED),
        ("*.csv", "rows.csv", Verdict.IGNORED),
        ("*.csv", "data/rows.csv", Verdict.COPIED),
        ("**/*.csv", "data/deep/rows.csv", Verdict.IGNORED),
        ("data\n!data/rows.csv", "data/rows.csv", Verdict.COPIED),
        ("# data", "data/rows.csv", Verdict.COPIED),
        ("!.env", ".env", Verdict.COPIED),
        ("row?.csv", "rows.csv", Verdict.IGNORED),
    ],
)
def test_patterns_mean_what_they_mean_to_docker(text: str, path: str, expected: Verdict) -> None:
    assert expected is read_rules(text).verdict(path)
