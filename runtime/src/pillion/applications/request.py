"""``pillion.Request``: Starlette's, with the body at hand for plain functions."""

from __future__ import annotations

from starlette.requests import Request as StarletteRequest

__all__ = ["Request"]


class Request(StarletteRequest):
    """Starlette's request.

    ``content`` is the whole body for handlers that are plain functions, which cannot await ``body()``: it is read
    before they are called.
    """

    @property
    def content(self) -> bytes:
        """The whole body.

        Raises:
            RuntimeError: it has not been read, in an ``async`` handler: ``await request.body()`` reads it.
        """
        try:
            return self._body
        except AttributeError:
            raise RuntimeError("the body has not been read: await request.body()") from None
