"""What goes wrong between steps, with what each of them answered."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CompositionError", "EnsembleError", "MapError", "UnknownBranchError", "checked", "told"]

_MOST_SHOWN = 5


class CompositionError(TypeError):
    """Steps do not fit together. Raised where the composition is made; names the steps and the remedy."""


@contextlib.contextmanager
def checked(place: str = "") -> Iterator[None]:
    """What is wrong with arguments that compositions are made with, as :class:`CompositionError`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise CompositionError(f"{place}: {error}" if place else str(error)) from None


class EnsembleError(Exception):
    """Too many members of an ensemble failed.

    Attributes:
        answers: of the members that had answered, by name.
        failures: what the others raised, by name.
        unfinished: members that were cancelled because the outcome was certain.
    """

    def __init__(
        self,
        name: str,
        needed: int,
        answers: Mapping[str, Any],
        failures: Mapping[str, BaseException],
        unfinished: tuple[str, ...],
    ) -> None:
        total = len(answers) + len(failures) + len(unfinished)
        super().__init__(
            f"{name}: {needed} of {total} members have to answer, {len(failures)} failed: {_list(failures)}"
        )
        self.answers = dict(answers)
        self.failures = dict(failures)
        self.unfinished = unfinished


class MapError(Exception):
    """An item failed; the others were cancelled.

    Attributes:
        answers: of the items that were done, by position.
        failures: what the others raised, by position.
    """

    def __init__(self, name: str, answers: Mapping[int, Any], failures: Mapping[int, BaseException]) -> None:
        super().__init__(f"{name}: {_list({f'item {place}': error for place, error in failures.items()})}")
        self.answers = dict(answers)
        self.failures = dict(failures)


class UnknownBranchError(ValueError):
    """A switch chose a branch that it does not have, and has no default."""


def _list(failures: Mapping[str, BaseException]) -> str:
    shown = [f"{name}: {type(error).__name__}: {error}" for name, error in list(failures.items())[:_MOST_SHOWN]]
    if len(failures) > _MOST_SHOWN:
        shown.append(f"and {len(failures) - _MOST_SHOWN} more")
    return "; ".join(shown)


def told(error: EnsembleError | MapError) -> Exception:
    """What a client is told of it: that the input is at fault only where each failure says so."""
    failures = list(error.failures.values())
    if failures and all(isinstance(one, (ValueError, TypeError)) for one in failures):
        return ValueError(str(error))
    return error
