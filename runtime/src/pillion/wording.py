"""Words that errors of several layers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["listing", "missing", "nearest"]

_LISTED: Final = 12


def nearest(given: str, known: Iterable[str]) -> str:
    """``; did you mean 'age'?`` where a known name is like the given one, else nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for what is wrong

    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(given.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def listing(items: Sequence[str], most: int = _LISTED, separator: str = ", ") -> str:
    """The first of many, so that an error stays readable where there are hundreds of columns."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more


def missing(names: Sequence[str]) -> str:
    """``input 'age' is missing``, or the same of several."""
    noun, verb = ("inputs", "are") if len(names) > 1 else ("input", "is")
    return f"{noun} {listing([*map(repr, names)])} {verb} missing"
