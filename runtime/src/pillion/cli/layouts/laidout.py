"""What a folder that is laid out for another server asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pillion.runtimefile import ExecutionSettings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LaidOut", "Layout", "LayoutError"]


class LayoutError(Exception):
    """Something in the folder cannot be served here; the text names the file and says what can."""


@dataclass(frozen=True, slots=True)
class LaidOut:
    """One version of one model: its name, version, format as the other server calls it, and where its files are."""

    name: str
    version: str
    format: str
    path: Path
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    """What the other server was told about batches."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Every model of the folder, and the settings that have no meaning here, as ``FILE: SETTING, ...``."""

    models: tuple[LaidOut, ...]
    unused: tuple[str, ...] = ()
