"""What holds for the list of tensors of a request, in every encoding."""

from __future__ import annotations

from pillion.errors import ErrorCode, PillionError

__all__ = ["too_many_tensors", "unique_names"]


def too_many_tensors(field: str, count: int, limit: int) -> PillionError:
    """The error for a request with more tensors than allowed."""
    return PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"{field}: {count} tensors, at most {limit} are allowed",
        field=field,
        remedy="raise limits.max_tensors",
    )


def unique_names(names: tuple[str, ...], field: str) -> None:
    """Names of inputs, and of outputs, are unique within a request.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` naming the second occurrence.
    """
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            place = f"{field}[{index}].name"
            raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{place}: {name!r} is there twice", field=place)
        seen.add(name)
