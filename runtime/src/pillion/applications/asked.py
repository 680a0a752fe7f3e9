"""Calls of models that code in worker processes asks for, made here."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from pillion.execution.messages import STREAM, TASK

if TYPE_CHECKING:
    from pillion.authoring.context import Working
    from pillion.execution.messages import Ask

__all__ = ["answer"]


async def answer(working: Working, ask: Ask) -> Any:  # noqa: ANN401 - as the model answers
    """What the model answers; of a task that yields, an iterator of lists of items.

    Raises:
        PillionError: as a call of the model itself.
    """
    from pillion.applications.models import ModelHandle  # noqa: PLC0415 - few models call others

    if working.plane is None:  # its code is not told how to ask then
        raise RuntimeError("there are no models here")
    handle = ModelHandle(ask.model, working, working.plane)
    arguments = pickle.loads(ask.arguments)  # noqa: S301 - written by our own worker
    if ask.way == STREAM:
        return handle.parts(ask.task, arguments)
    if ask.way == TASK:
        return await handle.task(ask.task, shield=ask.shield, **arguments)
    return await handle.predict(arguments.pop("", None), shield=ask.shield, **arguments)
