"""The place where models may be declared while the server runs, and nothing where there is no such place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pillion.management.declared import Declared, DeclaredPlane
    from pillion.server.settings import ModelSettings

__all__ = ["DeclaredPlace"]


class DeclaredPlace:
    """What follows ``models.json``, where the folder of that file is there when the server starts."""

    def __init__(self, plane: DeclaredPlane, settings: ModelSettings) -> None:
        self._declared: Declared | None = None
        file = Path(settings.declared) if settings.declared else None
        if file is not None and file.parent.is_dir():
            from pillion.management.declared import Declared  # noqa: PLC0415 - few servers have such a place
            from pillion.management.declared_sources import DeclaredSources  # noqa: PLC0415 - as above

            folder = Path(settings.declared_folder or f"{tempfile.gettempdir()}/pillion-declared")
            sources = DeclaredSources(settings.declared_sources, settings.declared_stores, os.environ)
            self._declared = Declared(plane, file, folder, sources)

    def waiting(self) -> str:
        """What the start still waits for; empty ever after."""
        return "" if self._declared is None else self._declared.waiting()

    def status(self) -> dict[str, Any]:
        """Its part of ``/status``."""
        if self._declared is None:
            return {}
        error = self._declared.error
        return {"declared": self._declared.report()} | ({"declaredError": error} if error else {})

    async def begin(self) -> None:
        """Begin to bring in what is declared."""
        if self._declared is not None:
            await self._declared.begin()

    async def tried(self) -> None:
        """Return when each of those was tried once."""
        if self._declared is not None:
            await self._declared.tried()

    async def watch(self) -> None:
        """Follow the file."""
        if self._declared is not None:
            await self._declared.watch()

    async def close(self) -> None:
        """Leave off."""
        if self._declared is not None:
            await self._declared.close()
