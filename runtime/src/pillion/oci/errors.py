"""Why an image could not be made, read or sent."""

from __future__ import annotations

__all__ = ["ImageError"]


class ImageError(Exception):
    """One sentence: what is wrong, where, and what to do.

    Attributes:
        usage: whether what was asked must change before another try can help.
    """

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage
