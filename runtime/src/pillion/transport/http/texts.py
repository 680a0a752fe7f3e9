"""The routes of language models: which handler answers which. Imported with the first request for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.transport.http.generate import answer_generate
from pillion.transport.http.openai import answer_openai
from pillion.transport.http.routes import OPENAI_ROUTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.streams import TextPlane
    from pillion.transport.http.answer import Answer
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["answer_text"]


async def answer_text(
    plane: TextPlane,
    options: DispatchOptions,
    target: Target,
    headers: Mapping[bytes, bytes],
    receive: Receive,
    caller: Caller,
) -> Answer:
    """Answer one request of the routes of language models.

    Raises:
        PillionError: for the dispatcher to answer.
        ClientDisconnected: nobody is there to answer.
    """
    answer = answer_openai if target.route in OPENAI_ROUTES else answer_generate
    return await answer(plane, options, target, headers, receive, caller)
