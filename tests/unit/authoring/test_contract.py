"""Which signatures of a task are equal, and what is said where they are not."""

from __future__ import annotations

import collections.abc  # noqa: TC003 - annotations are read at run time, here and below
import dataclasses
from typing import Annotated, Literal

import pytest
from pydantic import Field

from pillion import Batch, Model, task
from pillion.authoring.contract import differences
from pillion.authoring.signature import TaskSignature, define


@dataclasses.dataclass
class Label:
    name: str
    inner: Label | None = None


@dataclasses.dataclass
class Tag:
    """A class of another module with the same fields."""

    name: str
    inner: Tag | None = None


@dataclasses.dataclass
class Sized:
    name: str
    size: int
    inner: Sized | None = None


class First(Model):
    @task
    def label(self, text: str, depth: int = 1) -> Label:
        return Label(text)


class Same(Model):
    @task(batch=Batch(max_size=4))
    async def label(self, text: list[str], depth: int = 1) -> list[Tag]:
        """Say it otherwise."""
        return [Tag(one) for one in text]


class Reordered(Model):
    @task("Label")
    def other(self, *, depth: int = 1, text: str) -> Tag:
        return Tag(text)


class Differs(Model):
    @task
    def label(self, text: int, more: float, depth: int = 2) -> Sized:
        return Sized("", 1)


class Bounded(Model):
    @task
    def label(self, text: Annotated[str, Field(max_length=3)], depth: int = 1) -> Label:
        return Label(text)


class Chosen(Model):
    @task
    def label(self, text: Literal["a", "b"], depth: int) -> Label:
        return Label(text)


class Streaming(Model):
    @task
    def label(self, text: str, depth: int = 1) -> collections.abc.Iterator[Label]:
        yield Label(text)


class Sent(Model):
    @task
    def label(self, text: collections.abc.Iterator[str], depth: int = 1) -> Label:
        return Label("".join(text))


def only(cls: type[Model]) -> TaskSignature:
    [signature] = define(cls).tasks
    return signature


@pytest.mark.parametrize("other", [First, Same, Reordered])
def test_what_clients_do_not_see_makes_no_difference(other: type[Model]) -> None:
    assert () == differences(only(First), only(other))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            Differs,
            (
                "parameter text: string there, integer here",
                "parameter depth: 1 by default there, 2 here",
                "parameter more: not there, number here",
                "result.size: not there, integer here",
            ),
        ),
        (Bounded, ("parameter text: other values are allowed here",)),
        (
            Chosen,
            (
                "parameter text: string there, one of ['a', 'b'] here",
                "parameter depth: optional there, required here",
            ),
        ),
        (Streaming, ("result: given at once there, one by one here",)),
        (Sent, ("parameter text: missing here", "sent one by one: nothing there, text here")),
    ],
)
def test_each_difference_is_told_by_its_place(other: type[Model], told: tuple[str, ...]) -> None:
    assert told == differences(only(First), only(other))
