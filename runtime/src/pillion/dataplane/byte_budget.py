"""Bytes of the inputs that wait or run for one model, where its owner bounds them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from pillion.tensors import Tensor

__all__ = ["ByteBudget", "argument_bytes", "tensor_bytes"]

_Value = TypeVar("_Value")

_RETRY_SECONDS: Final = 1.0
_NUMBER: Final = 8


class ByteBudget:
    """``limit`` bytes for the inputs of all requests of a model. Event loop's thread only."""

    __slots__ = ("_limit", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    async def held(self, size: int, label: str, working: Coroutine[Any, Any, _Value]) -> _Value:
        """Await what computes the inputs, counted as long as that takes.

        Args:
            size: of the inputs, as the model gets them: :func:`tensor_bytes` or :func:`argument_bytes`.
            label: of the model, for messages.
            working: not begun.

        Raises:
            PillionError: ``QUEUE_FULL``; ``PAYLOAD_TOO_LARGE`` where it never fits; or what ``working`` raises.
        """
        if self.used + size > self._limit:
            working.close()
            raise self._refusal(size, label)
        self.used += size
        try:
            return await working
        finally:
            self.used -= size

    def _refusal(self, size: int, label: str) -> PillionError:
        setting = f"execution.maxBytesInFlight {self._limit}"
        if size > self._limit:
            return PillionError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"model {label}: the inputs are {size} bytes, more than the model may have at all ({setting})",
                field="inputs",
                remedy="send fewer rows at a time",
            )
        return PillionError(
            ErrorCode.QUEUE_FULL,
            f"model {label}: {self.used} bytes of inputs wait or run and {size} more would pass the limit ({setting})",
            remedy="try again later",
            retry_after=_RETRY_SECONDS,
        )


def tensor_bytes(inputs: Sequence[Tensor | None]) -> int:
    """Of all that there are."""
    return sum(_bytes_of(tensor) for tensor in inputs if tensor is not None)


def argument_bytes(arguments: Mapping[str, Any]) -> int:
    """Of a task's arguments: texts, bytes, arrays and files in memory, and what lies in lists, mappings and objects.

    Characters count one byte, numbers eight. Files on disk, items that are still to come, and objects of foreign
    libraries count for nothing.
    """
    from pillion.authoring.file import File  # noqa: PLC0415 - few models are bounded

    size = 0
    waiting: list[Any] = list(arguments.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | bytes | bytearray):
            size += len(value)
        elif isinstance(value, int | float):
            size += _NUMBER
        elif isinstance(value, np.ndarray):
            size += value.nbytes
        elif isinstance(value, File):
            size += value.size if value.in_memory else 0
        elif isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif dataclasses.is_dataclass(value):
            waiting += [getattr(value, field.name) for field in dataclasses.fields(value)]
        elif hasattr(value, "model_fields_set"):
            waiting += vars(value).values()
    return size


def _bytes_of(tensor: Tensor) -> int:
    """Of its elements; those of texts lie elsewhere."""
    if tensor.data.dtype.hasobject:
        return sum(len(text) for text in tensor.data.flat if text is not None)
    return tensor.data.nbytes
