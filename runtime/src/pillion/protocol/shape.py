"""Shapes as clients send them: never trusted, always multiplied with care."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_DIMENSIONS", "element_count"]

MAX_DIMENSIONS: Final = 32
"""numpy 1.26, the oldest that is allowed, has no more."""


def element_count(shape: Sequence[int], field: str, max_elements: int) -> int:
    """How many elements a tensor of ``shape`` has; 1 for an empty shape (a scalar).

    A dimension of 0 does not hide huge neighbours: ``[0, 2**62]`` is refused, because arithmetic on such shapes
    overflows in the libraries behind.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` for a negative dimension, too many dimensions or too many elements.
    """
    count = bound = 1
    for dimension in shape:
        if dimension < 0:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"{field}: dimensions must not be negative, got {dimension}",
                field=field,
                remedy="only a model's metadata uses -1; a request states the real size",
            )
        count *= dimension
        bound *= dimension or 1
        if bound > max_elements:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"{field}: more than {max_elements} elements",
                field=field,
                remedy="send a smaller batch, or raise limits.max_elements",
            )
    if len(shape) > MAX_DIMENSIONS:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"{field}: {len(shape)} dimensions are more than the {MAX_DIMENSIONS} supported",
            field=field,
        )
    return count
