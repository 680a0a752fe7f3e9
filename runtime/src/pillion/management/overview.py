"""What is known of the models that a server has or was to have: what serves, from which files, and what failed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.errors import ErrorCode, PillionError
from pillion.management.information import failed_info, model_info
from pillion.repository.residency import artifact_bytes
from pillion.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pillion.management.information import ModelInfo
    from pillion.model import ModelStatus
    from pillion.modelstore import FailedLoad, Hold, ModelVersion

__all__ = ["Overview", "unknown"]


class Overview:
    """See the module.

    Args:
        served: the versions from the store that are served, by name and version.
    """

    def __init__(self, served: Mapping[tuple[str, str], tuple[ModelVersion, Hold]]) -> None:
        self._served = served
        self.failures: dict[str, FailedLoad] = {}
        """Why the last version of a model is not served."""
        self._sizes: dict[str, int] = {}

    async def information(self, statuses: Sequence[ModelStatus], names: Collection[str] = ()) -> list[ModelInfo]:
        """What is known of the models of these names, or of all.

        Args:
            statuses: of every version that is known.
            names: none for all.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; names it.
        """
        serving = {status.name for status in statuses}
        known = serving | set(self.failures)
        for name in names:
            if name not in known:
                raise unknown(name, known)
        wanted = set(names) or known
        found = [await self._info(status) for status in statuses if status.name in wanted]
        found += [failed_info(name, self.failures[name]) for name in sorted(wanted - serving)]
        return sorted(found, key=lambda info: info.name)

    async def _info(self, status: ModelStatus) -> ModelInfo:
        served = self._served.get((status.name, status.version))
        registered = None if served is None else served[0]
        size = registered.size if registered is not None else await self._size_of(status.path)
        failure = self.failures.get(status.name)
        return model_info(status, size, registered, failure)

    async def _size_of(self, path: str) -> int:
        if path not in self._sizes:
            self._sizes[path] = await asyncio.to_thread(artifact_bytes, Path(path)) if path else 0
        return self._sizes[path]


def unknown(name: str, known: Collection[str]) -> PillionError:
    """What is said of a name that no model has."""
    text = f"Request for unknown model: {name[:200]!r} is not here{nearest(name[:64], known)}"
    return PillionError(ErrorCode.UNKNOWN_MODEL, text, field="model_id")
