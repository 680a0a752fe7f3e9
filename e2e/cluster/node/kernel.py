"""Settings of the host's kernel that kubelet changes, put back after the last node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# kubelet sets these at each start; they are not part of any namespace.
_CHANGED_BY_KUBELET = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def settings(root: Path = Path("/proc/sys")) -> dict[str, str]:
    """Return the present values of the settings that are there and readable."""
    found = {}
    for name in _CHANGED_BY_KUBELET:
        try:
            found[name] = (root / name).read_text().strip()
        except OSError:
            continue
    return found


def restore(values: Mapping[str, str], root: Path = Path("/proc/sys")) -> None:
    """Write back the values that differ; a read-only setting cannot have been changed either."""
    for name, value in values.items():
        path = root / name
        if path.read_text().strip() != value:
            path.write_text(value)


def remove_empty_folders(folders: Iterable[str]) -> None:
    """Remove those of the folders that are empty: the node made them to mount over them."""
    for folder in map(Path, folders):
        if folder.is_dir() and not folder.is_mount() and not any(folder.iterdir()):
            folder.rmdir()
