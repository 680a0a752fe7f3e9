"""Conditions of steps."""

from __future__ import annotations

import pytest

from pillion.graph.condition import condition

VALUE = {"text": "good", "empty": [], "predictions": [{"label": "cat", "score": 0.9}], "true": True, "none": None}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("text", True),
        ("empty", False),
        ("none", False),
        ("missing", False),
        ("not missing", True),
        ('text == "good"', True),
        ('text=="good"', True),
        ('text != "good"', False),
        ('missing != "good"', False),
        ('not text == "bad"', True),
        ('predictions.0.label in ["dog", "cat"]', True),
        ('predictions.1.label == "cat"', False),
        ("predictions.0.score > 0.5", True),
        ("predictions.0.score <= 0.5", False),
        ("text > 3", False),
        ('text > "a"', True),
        ("true == true", True),
        ("true == 1", False),
        ("none == null", True),
    ],
)
def test_conditions_hold_of_what_json_has(text: str, *, holds: bool) -> None:
    assert holds == condition(text).holds(VALUE)


def test_the_value_itself_is_a_dot() -> None:
    assert condition(". >= 3").holds(3)
    assert condition('. in ["a"]').holds("a")
    assert not condition(".").holds("")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no condition"),
        ("a b", "is no condition"),
        ("a = 1", "is no condition"),
        ("a == good", "good is no JSON: put texts in double quotes"),
        ("a in 3", "behind 'in' comes a list"),
        ("a > [1]", "> compares numbers, or texts"),
        ("a..b", "something is missing between two dots"),
    ],
)
def test_what_is_no_condition_says_how_they_are_written(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        condition(text)
