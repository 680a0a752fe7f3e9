"""Folders as other servers expect them, read as models to serve: MLServer's settings, Triton's model repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.cli.layouts.laidout import LaidOut, Layout, LayoutError
from pillion.cli.layouts.mlserver import read_mlserver
from pillion.cli.layouts.triton import read_triton

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LaidOut", "Layout", "LayoutError", "read_layout"]


def read_layout(folder: Path) -> Layout | None:
    """What a folder asks for; None where it is laid out for neither server.

    Raises:
        LayoutError: it is, and asks for something that cannot be served here.
    """
    return read_mlserver(folder) or read_triton(folder)
