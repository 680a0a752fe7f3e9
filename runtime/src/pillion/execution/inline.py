"""Calls on the event loop itself: for models of some ten microseconds, where a thread would cost more than the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.api import Predictor
    from pillion.tensors import Tensor

__all__ = ["InlineExecutor"]


class InlineExecutor:
    """Runs each call at once, without a task, a lock or a future. It cannot be interrupted, so nothing is abandoned."""

    __slots__ = ()

    abandoned = 0
    immediate = True

    async def run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,  # noqa: ARG002 - part of the protocol; a call on the loop cannot be cut short
    ) -> list[Tensor]:
        """Run the call now. The time limit is the caller's to check afterwards."""
        return model.predict(inputs, outputs, None)

    def close(self) -> None:
        """Nothing to end."""
