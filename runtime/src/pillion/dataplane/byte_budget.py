"""Bytes of the tensors that wait or run for one model, where its owner bounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from pillion.tensors import Tensor

__all__ = ["ByteBudget"]

_RETRY_SECONDS: Final = 1.0


class ByteBudget:
    """``limit`` bytes for the inputs of all requests of a model. Event loop's thread only."""

    __slots__ = ("_limit", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    async def held(
        self, inputs: Sequence[Tensor | None], label: str, working: Coroutine[Any, Any, list[Tensor]]
    ) -> list[Tensor]:
        """Await what computes the inputs, counted as long as that takes.

        Args:
            inputs: as the model gets them.
            label: of the model, for messages.
            working: not begun.

        Raises:
            PillionError: ``QUEUE_FULL``; ``PAYLOAD_TOO_LARGE`` where it never fits; or what ``working`` raises.
        """
        size = sum(_bytes_of(tensor) for tensor in inputs if tensor is not None)
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


def _bytes_of(tensor: Tensor) -> int:
    """Of its elements; those of texts lie elsewhere."""
    if tensor.data.dtype.hasobject:
        return sum(len(text) for text in tensor.data.flat if text is not None)
    return tensor.data.nbytes
