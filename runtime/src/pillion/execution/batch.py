"""Requests put together into one call of the model, and its results taken apart again. Pure.

Requests fit together when they ask for the same outputs and their tensors agree in datatype and in every dimension but
the first. Nothing is padded: requests of other shapes make calls of their own.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numpy as np

from pillion.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["apart", "in_turns", "signature", "together"]

_Item = TypeVar("_Item")
_LARGE: Final = 64 * 1024
"""Bytes of a result of a whole call that a slow reader of a part of it must not keep in memory."""
_SMALL_PART: Final = 4
"""A part is small where it is less than the whole divided by that."""


def signature(inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> tuple[object, ...] | None:
    """What requests must have in common to share a call; None for one that cannot share.

    That is one without tensors or rows, or whose tensors do not agree in their number of rows.
    """
    if len(inputs) == 1 and (only := inputs[0]) is not None:
        shape = only.data.shape
        return (outputs, only.datatype, shape[1:]) if shape and shape[0] else None
    parts: list[object] = [outputs]
    rows = 0
    for tensor in inputs:
        if tensor is None:
            parts.append(None)
            continue
        shape = tensor.data.shape
        if not shape or not shape[0] or (rows and shape[0] != rows):
            return None
        rows = shape[0]
        parts += (tensor.datatype, shape[1:])
    return tuple(parts) if rows else None


def together(requests: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    """The inputs of one call for all ``requests``, which have one signature: their rows in order."""
    joined: list[Tensor | None] = []
    for position, first in enumerate(requests[0]):
        if first is None:
            joined.append(None)
            continue
        parts: list[Tensor] = [request[position] for request in requests]  # type: ignore[misc] # one signature: all or none
        data = np.concatenate([part.data for part in parts])
        missing = None
        if any(part.missing is not None for part in parts):
            missing = np.concatenate([_gaps(part) for part in parts])
        joined.append(Tensor(first.name, first.datatype, data, missing=missing))
    return joined


def apart(results: Sequence[Tensor], rows: Sequence[int]) -> list[list[Tensor]] | None:
    """Each request's share of the results of a call; None unless there is a result for each row.

    Shares are views of the results, but for small ones of large results: who reads one slowly would keep all of it.
    """
    total = sum(rows)
    for result in results:
        if result.data.shape[:1] != (total,):
            return None
    shares: list[list[Tensor]] = []
    start = 0
    for count in rows:
        end = start + count
        shares.append(
            [
                Tensor(
                    result.name,
                    result.datatype,
                    _part(result.data, start, end),
                    missing=None if result.missing is None else result.missing[start:end],
                )
                for result in results
            ]
        )
        start = end
    return shares


def in_turns(items: Iterable[_Item], owner: Callable[[_Item], str]) -> list[_Item]:
    """The items in an order in which their owners take turns, each with its own in the order that they have."""
    queues: dict[str, list[_Item]] = {}
    for item in items:
        queues.setdefault(owner(item), []).append(item)
    missing = object()
    rounds = zip_longest(*queues.values(), fillvalue=missing)
    return [cast("_Item", item) for each in rounds for item in each if item is not missing]


def _part(whole: np.ndarray[Any, np.dtype[Any]], start: int, end: int) -> np.ndarray[Any, np.dtype[Any]]:
    part = whole[start:end]
    return part.copy() if whole.nbytes > _LARGE and part.nbytes * _SMALL_PART < whole.nbytes else part


def _gaps(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.zeros(tensor.data.shape, np.bool_) if tensor.missing is None else tensor.missing
