"""A question that every worker process of a model is asked, each by itself."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from pillion.execution.api import WorkerDiedError
from pillion.execution.sent import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.execution.remote import RemoteRun
    from pillion.execution.worker_link import WorkerLink

__all__ = ["ask_each"]

_LOOK: Final = 0.1
"""Seconds between looks at whose turn it is, of which nobody tells."""


async def ask_each(
    links: Sequence[WorkerLink], question: Callable[[], RemoteRun], seconds: float, *, patience: float | None = None
) -> list[tuple[WorkerLink, BaseException]]:
    """Ask, and return the workers that failed, with what they raised; TimeoutError where one did not answer.

    A worker that computes a request that long has not been asked yet, and is not among them, nor is one that died: its
    successor is on its way. With `patience` it waits so many seconds for a worker's turn: one whose turn does not
    come, as behind a stream without an end, has failed, and so has one that died over the question.
    """
    outcomes = await asyncio.gather(*(_ask(link, question(), seconds, patience) for link in links))
    return [(link, outcome) for link, outcome in zip(links, outcomes, strict=True) if outcome is not None]


async def _ask(link: WorkerLink, question: RemoteRun, seconds: float, patience: float | None) -> BaseException | None:
    sent = Sent(question, (), (), retry=False, counted=False)
    link.send(sent)
    try:
        if patience is None or await _its_turn(sent, patience):
            await asyncio.wait((sent.future,), timeout=seconds)
        if sent.future.done():
            error = sent.future.exception()
            if isinstance(error, WorkerDiedError):
                return None if patience is None else RuntimeError(f"worker process {link.process.pid} ended over it")
            return error
        if _is_turn_of(sent):
            return TimeoutError(f"it did not answer within {seconds:g} s")
        if patience is None:
            return None
        return TimeoutError(
            f"worker process {link.process.pid} computed other requests for {patience:g} s (drain.grace_seconds), as a "
            "stream that does not end: end them, and try again"
        )
    finally:
        if not sent.future.done():
            sent.future.cancel()
            sent.abandoned = True
            if sent.link is not None:
                sent.link.give_up(sent)


async def _its_turn(sent: Sent, seconds: float) -> bool:
    """Wait until the worker is at the question, or has answered; whether it was within that time."""
    ends = time.monotonic() + seconds
    while not (sent.future.done() or _is_turn_of(sent)):
        if (left := ends - time.monotonic()) <= 0:
            return False
        await asyncio.wait((sent.future,), timeout=min(left, _LOOK))
    return True


def _is_turn_of(sent: Sent) -> bool:
    """Whether the worker is at this question, or at an earlier one that hangs. One that died before left it behind."""
    if sent.link is None:
        return False
    first = next(iter(sent.link.outstanding.values()), sent)
    return first is sent or first.abandoned
