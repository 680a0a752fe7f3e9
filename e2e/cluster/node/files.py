"""Placing large files without copying them where that can be avoided."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def link_or_copy(source: Path, target: Path) -> None:
    """Have the content of `source` at `target` too: as a hard link, else as a copy."""
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
