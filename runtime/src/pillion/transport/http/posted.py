"""The body and deadline of a JSON request that is not inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.transport.http.body import read_body
from pillion.transport.http.content_coding import content_coding
from pillion.transport.http.headers import check_content_type, priority, timeout_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["FORM", "posted"]

FORM: Final = b"multipart/form-data"
"""How the content type of a form begins."""


async def posted(
    headers: Mapping[bytes, bytes], receive: Receive, options: DispatchOptions, caller: Caller
) -> tuple[bytes | memoryview, float | None]:
    """The whole body, and the deadline on the data plane's clock where the request brings one. The caller is told its
    priority.

    Raises:
        PillionError: another content type, an encoding, a body that is too large, a time-out or priority that
            is no number.
        ClientDisconnected: the connection ended first.
    """
    coding = content_coding(headers)
    check_content_type(headers.get(b"content-type"))
    seconds = timeout_seconds(headers)
    caller.priority = priority(headers)
    deadline = None if seconds is None else options.clock() + seconds
    body = await read_body(receive, await receive(), headers, options.max_body_bytes)
    return (body if coding is None else await options.expander.expand(body, coding, caller.held)), deadline
