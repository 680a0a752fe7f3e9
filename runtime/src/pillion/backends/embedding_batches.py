"""Which texts an encoder computes together: padding costs as much as text, and every call costs something, too."""

from __future__ import annotations

from collections import deque
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
    longest = [lengths[place] for place in order]
    begins = _begins(longest, costs)
    found = []
    end = len(order)
    while end:
        found.append(order[begins[end] : end])
        end = begins[end]
    return found[::-1]


def _begins(longest: Sequence[int], costs: BatchCosts) -> list[int]:
    """Where the last batch of the first n texts begins in their cheapest division, for each n.

    A batch that begins at b costs as many tokens for each further text as its first text has, and a later beginning
    costs fewer. So once a later beginning is cheaper, it stays so; and an earlier one comes to its bound first. Of the
    beginnings that may still become the cheapest, each is kept with the n from which the next one is. Each is put in
    and taken out once, which makes the work grow with the texts alone, whatever the bounds of a batch.

    Args:
        longest: tokens of each text, never more than of the one before.
        costs: of a call.
    """
    cost = 0
    """Of the cheapest division of the texts so far."""
    found = [0]
    fixed: list[int] = []
    """What a batch costs beside its tokens for each n, by its beginning."""
    last: list[int] = []
    """The largest n of a batch, by its beginning."""
    kept: deque[int] = deque()
    overtaken: deque[int] = deque()
    """The n from which each one of those kept is overtaken by the next."""
    for end, tokens in enumerate(longest, 1):
        begin = end - 1
        fixed.append(cost + costs.call - tokens * begin)
        last.append(begin + max(1, min(costs.texts, costs.tokens // max(tokens, 1))))
        while kept:
            before = kept[-1]
            fewer = longest[before] - tokens
            more = fixed[begin] - fixed[before]
            when = last[before] + 1
            if fewer:
                when = min(when, more // fewer + 1)
            elif more < 0:
                when = end
            if len(kept) == 1 or when > overtaken[-1]:
                overtaken.append(when)
                break
            kept.pop()
            overtaken.pop()
        kept.append(begin)
        while overtaken and overtaken[0] <= end:
            kept.popleft()
            overtaken.popleft()
        begin = kept[0]
        cost = fixed[begin] + longest[begin] * end
        found.append(begin)
    return found


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
