"""Arguments that programs give, looked at where they are given, so that what is wrong is told by its name."""

from __future__ import annotations

__all__ = ["check_count", "check_seconds", "check_text"]


def check_seconds(name: str, seconds: object) -> None:
    """Refuse what is no time to wait; None waits.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, or NaN.
    """
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} is a number of seconds, or None to wait, and not a {type(seconds).__name__}")
    if not seconds >= 0:
        raise ValueError(f"{name} is {seconds:g}: a number of seconds, or None to wait")


def check_count(name: str, number: object, what: str) -> None:
    """Refuse what is no number of things of which there has to be one at least.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is less than 1.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} is a number of {what}, and not a {type(number).__name__}")
    if number < 1:
        raise ValueError(f"{name}={number}: at least 1 is needed")


def check_text(name: str, text: object, example: str) -> None:
    """Refuse what is no text, or an empty one.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} is a text, such as {example!r}, and not a {type(text).__name__}")
    if not text:
        raise ValueError(f"{name} is empty: give one, such as {example!r}")
