"""The one flag that tells every transport that the server is going away."""

from __future__ import annotations

__all__ = ["DrainState"]


class DrainState:
    """Set once by the server's life cycle, read by transports on every answer.

    While set, HTTP answers carry ``Connection: close`` so that clients open their next connection elsewhere.
    """

    __slots__ = ("draining",)

    def __init__(self) -> None:
        self.draining = False
