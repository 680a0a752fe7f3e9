"""Marking methods as tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pillion.authoring.errors import AuthoringError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.authoring.batches import Batch

__all__ = ["TaskOptions", "options_of", "task"]

_Method = TypeVar("_Method", bound="Callable[..., Any]")
_MARK = "__pillion_task__"


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What the decorator was told."""

    name: str | None = None
    batch: Batch | None = None


@overload
def task(method: _Method, /) -> _Method: ...
@overload
def task(name: str, /, *, batch: Batch | None = None) -> Callable[[_Method], _Method]: ...
@overload
def task(*, batch: Batch | None = None) -> Callable[[_Method], _Method]: ...


def task(subject: Any = None, /, *, batch: Batch | None = None) -> Any:
    """Serve a method: ``@task``, or ``@task("name")`` where the name is not to be the method's.

    The parameters are the request's fields, with the types and defaults of the signature; what the method returns is
    the answer. The method itself stays as it is. With ``batch=`` (see :class:`~pillion.Batch`) a request brings one
    item of each list that the method is given.
    """
    if subject is None:
        return _marking(TaskOptions(batch=batch))
    if isinstance(subject, str):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", subject):
            raise AuthoringError(f"@task({subject!r}): a task's name is letters, digits, - and _, a letter first")
        return _marking(TaskOptions(subject, batch))
    return _marking(TaskOptions())(subject)


def _marking(options: TaskOptions) -> Callable[[_Method], _Method]:
    def mark(method: _Method) -> _Method:
        # On the function below staticmethod and classmethod, whichever decorator came first.
        setattr(getattr(method, "__func__", method), _MARK, options)
        return method

    return mark


def options_of(method: object) -> TaskOptions | None:
    """The mark of a method; None where it is no task."""
    found: TaskOptions | None = getattr(getattr(method, "__func__", method), _MARK, None)
    return found
