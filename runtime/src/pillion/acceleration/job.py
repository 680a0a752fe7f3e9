"""What the process that converts is told, and what it answers. Values only."""

from __future__ import annotations

import msgspec

__all__ = ["Converted", "Unconvertible"]


class Converted(msgspec.Struct, frozen=True, tag="converted"):
    """The estimator as ONNX."""

    model: bytes
    versions: dict[str, str]
    """Of the libraries that wrote it."""
    exact: bool = False
    """Whether its probabilities are those of the estimator to the last bit, so that ties are told as it tells them."""


class Unconvertible(msgspec.Struct, frozen=True, tag="unconvertible"):
    """Why there is none, in words that follow "it serves as it is: "."""

    reason: str
