"""Which of PyTorch's archives a zip file is, from the names of its entries: nothing in it is read.

Source: PyTorch, ``torch.save`` (``data.pkl``), ``torch.jit.save`` (``constants.pkl`` and ``code/``) and the PT2 archive
(``archive_format``; until 2.7 ``serialized_exported_program.json``).
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ZipKind", "zip_kind"]


@unique
class ZipKind(StrEnum):
    """What a zip file holds."""

    SKOPS = "skops"
    TORCH_EXPORT = "torch.export"
    TORCHSCRIPT = "torchscript"
    TORCH_PICKLE = "torch.save"


def zip_kind(file: Path) -> ZipKind | None:
    """What it holds; None for any other zip file, and for one that cannot be read."""
    import zipfile  # noqa: PLC0415 - most artifacts are none

    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    if "schema.json" in names:
        return ZipKind.SKOPS
    # All but skops put their entries below one folder, which has the file's name.
    below = {name.partition("/")[2] for name in names}
    if below & {"archive_format", "archive_version"} or "serialized_exported_program.json" in names:
        return ZipKind.TORCH_EXPORT
    if "constants.pkl" in below:
        return ZipKind.TORCHSCRIPT
    return ZipKind.TORCH_PICKLE if "data.pkl" in below else None
