"""Conditions of steps: ``predictions.0.label == "cat"``, ``not input.language in ["de", "at"]``, ``error``."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Condition", "condition"]

_FORM: Final = re.compile(r"(not )?([^\s=!<>]+)(?:\s*(==|!=|<=|>=|<|>|\bin\b)\s*(.+))?", re.DOTALL)
_ORDERED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING: Final = object()


class Condition(msgspec.Struct, frozen=True):
    """One of them, read."""

    negated: bool
    path: tuple[str, ...]
    """Keys and positions; empty for the value itself."""
    comparison: str = ""
    """Empty: whether something is there that is not null, false, or empty."""
    against: Any = None

    def holds(self, value: Any) -> bool:  # noqa: ANN401 - as JSON has them
        """Whether it does. Nothing holds of what is not there."""
        return self._holds(_found(value, self.path)) != self.negated

    def _holds(self, found: Any) -> bool:  # noqa: ANN401 - as above
        if found is _MISSING:
            return False
        match self.comparison:
            case "":
                return bool(found)
            case "==":
                return _equal(found, self.against)
            case "!=":
                return not _equal(found, self.against)
            case "in":
                return any(_equal(found, one) for one in self.against)
            case _:
                alike = isinstance(found, str) == isinstance(self.against, str)
                ordered = isinstance(found, (int, float, str)) and alike
                return ordered and _ORDERED[self.comparison](found, self.against)


def condition(text: str) -> Condition:
    """Read one.

    Raises:
        ValueError: it is none; says how they are written.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no condition: write PATH, PATH == VALUE or PATH in [VALUE, ...]")
    negated, path, comparison, written = found.groups()
    against: Any = None
    if comparison:
        try:
            against = msgspec.json.decode(written)
        except msgspec.DecodeError:
            raise ValueError(f"{text!r}: {written.strip()} is no JSON: put texts in double quotes") from None
        if comparison == "in" and not isinstance(against, list):
            raise ValueError(f"{text!r}: behind 'in' comes a list, as in [1, 2]")
        if comparison in _ORDERED and (isinstance(against, bool) or not isinstance(against, (int, float, str))):
            raise ValueError(f"{text!r}: {comparison} compares numbers, or texts")
    parts = () if path == "." else tuple(path.split("."))
    if "" in parts:
        raise ValueError(f"{text!r}: in the path {path!r} something is missing between two dots")
    return Condition(negated is not None, parts, comparison or "", against)


def _found(value: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - as JSON has them
    for part in path:
        if isinstance(value, dict):
            value = value.get(part, _MISSING)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def _equal(one: Any, other: Any) -> bool:  # noqa: ANN401 - as above
    """As JSON has it: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
