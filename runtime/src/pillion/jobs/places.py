"""Where on this machine a training may read data, and write its model: below named folders, wherever links lead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.jobs.settings import JobSettings
    from pillion.runtimefile import Code

__all__ = ["check_place", "check_source", "roots_of"]


def roots_of(settings: JobSettings, code: Code) -> tuple[str, ...]:
    """The folders: the jobs' own, that of the code, and those of ``jobs.roots``."""
    own = (settings.folder, Path(code.folder))
    return tuple(str(root) for root in (*settings.roots, *own) if root is not None)


def check_place(path: Path, roots: Sequence[str], field: str) -> None:
    """Whether a path lies below one of the folders.

    Raises:
        PillionError: ``PERMISSION_DENIED``; it does not say whether there is anything.
    """
    real = path.resolve()
    if not any(real.is_relative_to(Path(root).resolve()) for root in roots):
        raise PillionError(
            ErrorCode.PERMISSION_DENIED,
            f"{field}: {path} is not below a folder that trainings may use: {', '.join(roots) or 'there is none'}",
            field=field,
            remedy="put it there, or have its folder added to jobs.roots (PILLION_JOBS__ROOTS)",
        )


def check_source(uri: str, roots: Sequence[str], field: str) -> None:
    """Whether data may be read: of this machine only what lies below one of the folders.

    Raises:
        PillionError: ``PERMISSION_DENIED``; ``INVALID_ARGUMENT``: it is no URI of a storage.
    """
    from pillion.storage import StorageError, parse_uri  # noqa: PLC0415 - only for data elsewhere

    try:
        parsed = parse_uri(uri)
    except StorageError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {error}", field=field) from error
    if parsed.scheme == "file":
        check_place(Path(parsed.path), roots, field)
