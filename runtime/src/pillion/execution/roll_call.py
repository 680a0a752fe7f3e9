"""A question that every worker process of a model is asked, each by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pillion.execution.api import WorkerDiedError
from pillion.execution.sent import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.execution.remote import RemoteRun
    from pillion.execution.worker_link import WorkerLink

__all__ = ["ask_each"]


async def ask_each(
    links: Sequence[WorkerLink], question: Callable[[], RemoteRun], seconds: float, *, patient: bool = False
) -> list[tuple[WorkerLink, BaseException]]:
    """Ask, and return the workers that failed, with what they raised; TimeoutError where one did not answer.

    A worker that computes a request that long has not been asked yet, and is not among them, nor is one that died: its
    successor is on its way. Where this is `patient` it waits for a worker's turn, and one that died over the question
    has failed.
    """
    outcomes = await asyncio.gather(*(_ask(link, question(), seconds, patient=patient) for link in links))
    return [(link, outcome) for link, outcome in zip(links, outcomes, strict=True) if outcome is not None]


async def _ask(link: WorkerLink, question: RemoteRun, seconds: float, *, patient: bool) -> BaseException | None:
    sent = Sent(question, (), (), retry=False, counted=False)
    link.send(sent)
    try:
        while True:
            await asyncio.wait((sent.future,), timeout=seconds)
            if sent.future.done():
                error = sent.future.exception()
                if isinstance(error, WorkerDiedError):
                    return RuntimeError(f"worker process {link.process.pid} ended over it") if patient else None
                return error
            if _is_turn_of(sent):
                return TimeoutError(f"it did not answer within {seconds:g} s")
            if not patient:
                return None
    finally:
        if not sent.future.done():
            sent.future.cancel()
            sent.abandoned = True
            if sent.link is not None:
                sent.link.give_up(sent)


def _is_turn_of(sent: Sent) -> bool:
    """Whether the worker is at this question, or at an earlier one that hangs. One that died before left it behind."""
    if sent.link is None:
        return False
    first = next(iter(sent.link.outstanding.values()), sent)
    return first is sent or first.abandoned
