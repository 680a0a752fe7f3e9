"""Ids that requests are given."""

from __future__ import annotations

import re

from pillion.dataplane.call import new_request_id


def test_ids_are_32_digits_that_count_on_and_none_comes_twice() -> None:
    made = [new_request_id() for _ in range(1000)]  # over several of the blocks that they are written in
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made)
    first = int(made[0], 16)
    assert list(range(first, first + 1000)) == [int(one, 16) for one in made]
