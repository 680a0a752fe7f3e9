"""Which texts an encoder computes together: padding costs as much as text, and every call costs something, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ON_CPU", "ON_GPU", "BatchCosts", "batches", "padded"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class BatchCosts:
    """What a call costs beside its tokens, and its bounds."""

    call: int
    """Tokens that could be computed in the time that a call takes before it computes any."""
    texts: int
    """Of one call at most."""
    tokens: int
    """Padding included, of one call at most; a single text may be longer."""


ON_CPU = BatchCosts(call=24, texts=32, tokens=8192)
ON_GPU = BatchCosts(call=2048, texts=256, tokens=65536)


def batches(lengths: Sequence[int], costs: BatchCosts) -> list[list[int]]:
    """The cheapest division of texts into calls: each text once, those of like length together, longest first.

    Args:
        lengths: tokens of each text.
        costs: of a call.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    # The cheapest way to compute the first n of them, from those for fewer; a batch is padded to its first.
    cost = [0.0]
    begins = [0]
    for end in range(1, len(order) + 1):
        best, begin = float("inf"), end - 1
        for first in range(end - 1, max(-1, end - 1 - costs.texts), -1):
            padded_tokens = lengths[order[first]] * (end - first)
            if padded_tokens > costs.tokens and first != end - 1:
                break
            together = cost[first] + costs.call + padded_tokens
            if together <= best:
                best, begin = together, first
        cost.append(best)
        begins.append(begin)
    found = []
    end = len(order)
    while end:
        found.append(order[begins[end] : end])
        end = begins[end]
    return found[::-1]


def padded(
    columns: Mapping[str, Sequence[Sequence[int]]], fill: Mapping[str, int], places: Sequence[int], *, left: bool
) -> dict[str, Array]:
    """The tokens of some texts as matrices of INT64, padded to the longest of them.

    Args:
        columns: what the tokenizer gives, by name: a row of numbers for each text.
        fill: what stands where a text has ended; 0 for other names.
        places: of the texts.
        left: whether the padding goes before the text.
    """
    made = {}
    for name, rows in columns.items():
        chosen = [rows[place] for place in places]
        width = max(map(len, chosen))
        matrix = np.full((len(chosen), width), fill.get(name, 0), np.int64)
        for target, row in zip(matrix, chosen, strict=True):
            if left:
                target[width - len(row) :] = row
            else:
                target[: len(row)] = row
        made[name] = matrix
    return made
