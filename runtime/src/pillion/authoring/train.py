"""Marking the class method that trains a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pillion.authoring.errors import AuthoringError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TrainOptions", "has_training", "train", "train_options_of"]

_Method = TypeVar("_Method")
_MARK = "__pillion_train__"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What the decorator was told."""

    task: str | None = None
    """The task that names the route; by default the first that the class declares."""


@overload
def train(method: _Method, /) -> _Method: ...
@overload
def train(*, task: str | None = None) -> Callable[[_Method], _Method]: ...


def train(method: Any = None, /, *, task: str | None = None) -> Any:
    """Offer a class method as a training: ``@train`` and ``@classmethod``, in either order.

    Its parameters are those of the request, with the types and defaults of the signature; one or more are
    ``Stream[...]``, the data. ``run``, where it takes it, is a :class:`~pillion.authoring.run.Run`. What it returns is
    an instance of the class, whose ``save(path)`` writes what ``load(artifact)`` reads.
    """
    if task is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", task):
        raise AuthoringError(f"@train(task={task!r}): a task's name is letters, digits, - and _, a letter first")

    def mark(marked: Any) -> Any:  # noqa: ANN401 - a method, or what a decorator made of one
        if isinstance(marked, str):
            raise AuthoringError(f"@train({marked!r}): write @train(task={marked!r})")
        setattr(getattr(marked, "__func__", marked), _MARK, TrainOptions(task))
        return marked

    return mark if method is None else mark(method)


def train_options_of(member: object) -> TrainOptions | None:
    """The mark of a class member; None where it does not train."""
    found: TrainOptions | None = getattr(getattr(member, "__func__", member), _MARK, None)
    return found


def has_training(cls: type[Any]) -> bool:
    """Whether a member of the class, or of one that it is made of, is marked."""
    return any(train_options_of(member) is not None for base in cls.__mro__ for member in vars(base).values())
