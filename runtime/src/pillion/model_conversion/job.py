"""What the command line asks of the process that opens the pickle, and what that process answers. Values only."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Answer", "Compared", "Failed", "Job"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One conversion."""

    source: str
    target: str
    """Where the result goes: written there only when it is verified."""
    format: Literal["skops", "onnx"]
    samples: str | None = None
    """A ``.csv`` or ``.npy`` file to compare results on."""
    tolerance: float
    """Largest difference of a number that counts as equal, relative to the number where that is larger than 1."""
    trusted_types: tuple[str, ...] = ()
    """For a source that is a skops file."""


class Compared(msgspec.Struct, frozen=True):
    """One method of the estimator, before and after."""

    method: str
    difference: float
    """The largest difference between two numbers; infinite where shapes or special values differ."""
    relative: float
    """The largest of the same in relation to the number, where that is larger than 1: what the tolerance bounds."""
    mismatches: int
    """Rows whose labels differ, or whose numbers differ by more than the tolerance."""


class Answer(msgspec.Struct, frozen=True, tag="converted", kw_only=True):
    """What came of it."""

    saved: dict[str, str]
    """Library versions that saved the source, as far as it says."""
    loading: dict[str, str]
    """Versions that loaded and converted it."""
    rows: int
    generated: bool
    """Whether the rows were made up, for want of samples."""
    compared: list[Compared]
    foreign_types: list[str] = []
    """Types in the result that whoever serves it has to trust."""
    notes: list[str] = []

    @property
    def equal(self) -> bool:
        """Whether the result may take the source's place."""
        return bool(self.compared) and not any(one.mismatches for one in self.compared)


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Why there is no result, in one sentence with the remedy."""

    message: str
