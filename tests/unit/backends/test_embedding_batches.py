"""Which texts an encoder computes together, and how they are padded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from pillion.backends.embedding_batches import ON_CPU, ON_GPU, BatchCosts, batches, padded


def price(found: list[list[int]], lengths: list[int], costs: BatchCosts) -> int:
    return sum(costs.call + max(lengths[place] for place in one) * len(one) for one in found)


def test_texts_of_like_length_are_computed_together() -> None:
    found = batches([5, 60, 6, 58, 5], BatchCosts(10, 32, 4096))
    assert [[1, 3], [0, 2, 4]] == [sorted(one) for one in found]


def test_no_division_is_cheaper() -> None:
    costs = BatchCosts(12, 3, 100)
    random = np.random.default_rng(0)
    for _ in range(20):
        lengths = random.integers(1, 40, 6).tolist()
        order = sorted(range(6), key=lambda place: -lengths[place])
        cheapest = min(
            price([list(one) for one in division], lengths, costs)
            for cuts in itertools.product([True, False], repeat=5)
            for division in [np.split(order, [place + 1 for place, cut in enumerate(cuts) if cut])]
            if all(len(one) <= 3 and lengths[one[0]] * len(one) <= 100 for one in division)
        )
        assert cheapest == price(batches(lengths, costs), lengths, costs)


@pytest.mark.parametrize("costs", [BatchCosts(12, 7, 150), BatchCosts(300, 40, 4096), BatchCosts(0, 5, 60)])
@pytest.mark.parametrize("longest", [3, 40, 90])
def test_no_division_of_many_texts_is_cheaper(costs: BatchCosts, longest: int) -> None:
    random = np.random.default_rng(longest)
    for count in range(1, 120, 7):
        lengths = sorted(random.integers(1, longest, count).tolist(), reverse=True)
        cheapest = [0]
        for end in range(1, count + 1):
            fit = (
                first
                for first in range(max(0, end - costs.texts), end)
                if first == end - 1 or lengths[first] * (end - first) <= costs.tokens
            )
            cheapest.append(min(cheapest[first] + costs.call + lengths[first] * (end - first) for first in fit))
        assert cheapest[-1] == price(batches(lengths, costs), lengths, costs)


class Counted(int):
    """Tokens that count how often they are calculated with, or compared."""

    uses = 0

    def _used(self) -> int:
        Counted.uses += 1
        return int(self)

    def __neg__(self) -> int:
        return -self._used()

    def __sub__(self, other: int) -> int:
        return self._used() - int(other)

    def __mul__(self, other: int) -> int:
        return self._used() * int(other)

    def __rfloordiv__(self, other: int) -> int:
        return int(other) // self._used()


@pytest.mark.parametrize("costs", [ON_CPU, ON_GPU])
def test_the_division_takes_steps_in_proportion_to_the_texts_whatever_fits_into_a_call(costs: BatchCosts) -> None:
    taken = []
    for count in (1000, 4000):
        lengths = [Counted(length) for length in np.random.default_rng(7).integers(8, 24, count)]
        Counted.uses = 0
        batches(lengths, costs)
        taken.append(Counted.uses / count)
    assert 0 < taken[0] < 10
    assert taken[1] < 10


@pytest.mark.parametrize("count", [0, 1, 33, 500])
def test_each_text_is_computed_once_within_the_bounds(count: int) -> None:
    lengths = np.random.default_rng(count).integers(1, 512, count).tolist()
    found = batches(lengths, ON_CPU)
    assert list(range(count)) == sorted(itertools.chain.from_iterable(found))
    assert all(len(one) <= ON_CPU.texts for one in found)
    assert all(len(one) * max(lengths[place] for place in one) <= ON_CPU.tokens for one in found)


def test_a_text_above_the_bound_is_computed_alone() -> None:
    assert [[1], [0, 2]] == [sorted(one) for one in batches([3, 900, 3], BatchCosts(10, 32, 100))]


@pytest.mark.parametrize(("side", "expected"), [("right", [[7, 8, 9], [5, 1, 1]]), ("left", [[7, 8, 9], [1, 1, 5]])])
def test_texts_are_padded_on_the_tokenizers_side(side: str, expected: list[Any]) -> None:
    columns = {"input_ids": [[5], [0, 0, 0, 0], [7, 8, 9]], "attention_mask": [[1], [1] * 4, [1] * 3]}
    made = padded(columns, {"input_ids": 1}, [2, 0], left=side == "left")
    assert expected == made["input_ids"].tolist()
    assert [3, 1] == made["attention_mask"].sum(axis=1).tolist()
    assert np.int64 == made["input_ids"].dtype
