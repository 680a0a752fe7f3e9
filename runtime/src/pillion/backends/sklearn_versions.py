"""Which library versions saved a scikit-learn artifact, and what to say where they are why it cannot be loaded."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import sklearn
import skops
from sklearn.exceptions import InconsistentVersionWarning

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.libraries import image_variant, mismatches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from warnings import WarningMessage

__all__ = ["loading_versions", "mismatch_refusal", "saved_by_skops", "saved_by_warnings"]

_VERSION: Final = r"([0-9A-Za-z.+-]{1,40})"
_SKLEARN: Final = re.compile(r'"_sklearn_version"\s*:\s*\{[^{}]*?"content"\s*:\s*"\\"' + _VERSION + r'\\""')
_SKOPS: Final = re.compile(r'"_skops_version"\s*:\s*"' + _VERSION + '"')
_SCHEMA_LIMIT: Final = 256 * 1024 * 1024


def loading_versions() -> dict[str, str]:
    """Versions of what loads scikit-learn models here, by package."""
    return {"scikit-learn": sklearn.__version__, "skops": skops.__version__, "numpy": np.__version__}


def saved_by_skops(path: Path) -> dict[str, str]:
    """Versions that a skops file names, read as text: nothing of it is built."""
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("schema.json").file_size > _SCHEMA_LIMIT:
            return {}
        schema = archive.read("schema.json").decode(errors="replace")
    found = {"scikit-learn": _SKLEARN.search(schema), "skops": _SKOPS.search(schema)}
    return {name: match[1] for name, match in found.items() if match}


def saved_by_warnings(caught: Iterable[WarningMessage]) -> dict[str, str]:
    """The version that loading warned of; nothing where it is the one that is installed, or a pickle does not say."""
    for warning in caught:
        message: Any = warning.message
        if isinstance(message, InconsistentVersionWarning):
            return {"scikit-learn": str(message.original_sklearn_version)}
    return {}


def mismatch_refusal(path: Path, saved: Mapping[str, str], problem: str) -> ModelLoadError | None:
    """The answer to a file that cannot be loaded, where versions are the likely reason; else None.

    Args:
        path: the file.
        saved: versions that saved it, as far as known.
        problem: what the library said.
    """
    for mismatch in mismatches(saved, loading_versions()):
        return ModelLoadError(
            f"{path.name} was {mismatch}, which cannot read it: {problem}",
            f"set runtimeVersion: {image_variant(mismatch)} in the manifest, or save it again"
            f" with {mismatch.name} {mismatch.loading}",
            LoadFailure.LIBRARY_MISMATCH,
        )
    return None
