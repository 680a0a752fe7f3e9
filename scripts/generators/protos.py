"""The Python modules of the runtime's ``.proto`` files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from scripts.generate_protos import PROTOS, ROOT, SOURCE, generate


def outputs() -> dict[str, str]:
    """Return the text of each file by its path from the root."""
    modules: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for proto in PROTOS:
            modules |= generate(proto, Path(scratch))
    return {str((SOURCE / name).relative_to(ROOT)): text for name, text in modules.items()}
