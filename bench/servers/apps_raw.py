"""A handler that answers with the body that it was sent, for ``pillion serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion import Request


async def echo(request: Request) -> bytes:
    """The body."""
    return await request.body()
