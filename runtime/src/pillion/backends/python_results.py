"""What is said of a method that gives something else than it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from pillion.authoring.errors import ResultError
    from pillion.authoring.signature import TaskSignature

__all__ = ["undeclared"]


def undeclared(error: ResultError, task: TaskSignature, verb: str) -> PillionError:
    """The failure of a method that returned, or yielded, something else than it declares."""
    place = f"{task.owner}.{task.method} {verb} what it does not declare: it"
    return PillionError(
        ErrorCode.MODEL_FAILED, str(error.below(place)), remedy="mend its return type, or what it gives"
    )
