"""What a task's arguments count for where a model's bytes are bounded."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion.authoring.file import File
from pillion.dataplane.byte_budget import ByteBudget, argument_bytes
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass
class Label:
    name: str
    scores: list[float]


@dataclasses.dataclass(slots=True)
class Slotted:
    name: str


@pytest.mark.parametrize(
    ("size", "value"),
    [
        (5, "hello"),
        (3, b"abc"),
        (8, 1.5),
        (24, [1, 2, 3]),
        (400, np.zeros(100, np.float32)),
        (10, File(b"0123456789")),
        (4 + 8, {"name": 1}),
        (2 + 16, [Label("ab", [0.5, 1.0])]),
        (2, Slotted("ab")),
        (0, None),
        (0, object()),
    ],
)
def test_what_is_in_memory_counts(size: int, value: object) -> None:
    assert size == argument_bytes({"x": value})


def test_a_file_on_disk_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1000)
    assert 0 == argument_bytes({"x": File(tmp_path / "f")})


async def test_calls_are_refused_while_others_hold_the_bytes() -> None:
    budget, go_on = ByteBudget(100), asyncio.Event()

    async def working() -> Any:
        await go_on.wait()
        return "done"

    first = asyncio.create_task(budget.held(argument_bytes({"x": "a" * 60}), "m/1", working()))
    await asyncio.sleep(0)
    with pytest.raises(PillionError, match="60 bytes of inputs wait or run and 50 more") as refusal:
        await budget.held(argument_bytes({"x": "a" * 50}), "m/1", working())
    assert ErrorCode.QUEUE_FULL is refusal.value.code
    go_on.set()
    assert "done" == await first
    assert 0 == budget.used
