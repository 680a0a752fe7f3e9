"""Exceptions and task calls on their way between processes."""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, Any, Final

from pillion.errors import ErrorCode, InvalidArguments, PillionError
from pillion.execution.messages import Failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = [
    "RemoteError",
    "RemoteExplanation",
    "RemoteRun",
    "RemoteStream",
    "RemoteTask",
    "RemoteTraceback",
    "failed",
    "raised",
]

_LONGEST_MESSAGE: Final = 4_000
_LONGEST_TRACEBACK: Final = 20_000


class RemoteRun:
    """One call that gives a value: the executor sends it to a worker process, and sets :attr:`value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Never called: the executor sends the call away."""
        del inputs, outputs, interrupt
        raise RuntimeError("this call runs in a worker process")


class RemoteTask(RemoteRun):
    """Of a task (see :class:`~pillion.backends.api.TaskRun`).

    Args:
        task: what the worker knows it by.
        arguments: by name.
    """

    __slots__ = ("arguments", "task")

    def __init__(self, task: str, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self.task = task
        self.arguments = arguments


class RemoteExplanation(RemoteRun):
    """Of ``explain`` (see :class:`~pillion.backends.api.ExplainRun`)."""

    __slots__ = ()


class RemoteStream:
    """A call whose results come one by one from a worker (see :class:`~pillion.execution.stream.StreamSource`)."""

    __slots__ = ("arguments", "task")

    asynchronous = False

    def __init__(self, task: str, arguments: Mapping[str, Any]) -> None:
        self.task = task
        self.arguments = arguments

    def run(self, put: Callable[[Any], bool]) -> None:
        """Never called: the executor sends the call away."""
        del put
        raise RuntimeError("this stream runs in a worker process")

    def items_async(self) -> AsyncIterator[Any]:
        """As :meth:`run`."""
        raise RuntimeError("this stream runs in a worker process")


class RemoteError(Exception):
    """An exception of the model's code in its worker. Its type has the name of the original."""


class RemoteTraceback(Exception):  # noqa: N818 - not raised: the cause of one that is, so that logs show it
    """Where in the worker the exception came from."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"in the worker process:\n{self.text}"


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _text(error: BaseException) -> str:
    try:
        return _sendable(str(error))[:_LONGEST_MESSAGE]
    except Exception:  # noqa: BLE001 - an exception of the user's whose __str__ raises
        return "(its text cannot be read)"


def failed(call: int, error: BaseException, released: list[int]) -> Failed:
    """The exception as a message."""
    text = _sendable("".join(traceback.format_exception(error)))
    message = Failed(
        call,
        type(error).__name__,
        _text(error),
        text if len(text) <= _LONGEST_TRACEBACK else "...\n" + text[-_LONGEST_TRACEBACK:],
        input_at_fault=isinstance(error, ValueError),
        type_at_fault=isinstance(error, TypeError),
        released=released,
    )
    if isinstance(error, PillionError):
        message.message = _sendable(error.message)[:_LONGEST_MESSAGE]
        message.code, message.field, message.remedy = error.code.value, error.field, error.remedy
        message.retry_after = error.retry_after
    if isinstance(error, InvalidArguments):
        message.problems = [dict(one) for one in error.problems]
    return message


def raised(message: Failed) -> Exception:
    """The exception again, with the worker's traceback as its cause."""
    error: Exception
    if message.problems:
        error = InvalidArguments(message.message, field=message.field or "", problems=message.problems)
    elif message.code:
        error = PillionError(
            ErrorCode(message.code),
            message.message,
            field=message.field,
            remedy=message.remedy,
            retry_after=message.retry_after,
        )
    else:
        base = ValueError if message.input_at_fault else TypeError if message.type_at_fault else RuntimeError
        error = _named(message.kind, base)(message.message)
    error.__cause__ = RemoteTraceback(message.traceback)
    return error


@functools.lru_cache(maxsize=256)
def _named(name: str, base: type[Exception]) -> type[Exception]:
    """A type of that name: callers are told of exceptions by name and family."""
    return type(name, (RemoteError, base), {"__module__": __name__})
