"""The place where models may be declared while the server runs, and nothing where there is no such place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pillion.placementfile import PLACEMENT_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.management.declared import Declared, DeclaredPlane
    from pillion.management.placing import Placing
    from pillion.server.settings import ModelSettings
    from pillion.transport.elsewhere import Elsewhere

__all__ = ["DeclaredPlace"]


class DeclaredPlace:
    """What follows ``models.json``, where the folder of that file is there when the server starts."""

    def __init__(self, plane: DeclaredPlane, settings: ModelSettings) -> None:
        self._declared: Declared | None = None
        self._placing: Placing | None = None
        file = Path(settings.declared) if settings.declared else None
        if file is not None and file.parent.is_dir():
            from pillion.management.declared import Declared  # noqa: PLC0415 - few servers have such a place
            from pillion.management.declared_sources import DeclaredSources  # noqa: PLC0415 - as above

            folder = Path(settings.declared_folder or f"{tempfile.gettempdir()}/pillion-declared")
            sources = DeclaredSources(settings.declared_sources, settings.declared_stores, os.environ)
            if settings.pod:
                from pillion.management.placing import Placing  # noqa: PLC0415 - as above

                self._placing = Placing(file.with_name(PLACEMENT_FILE), settings.pod)
            self._declared = Declared(plane, file, folder, sources, placing=self._placing)

    def elsewhere(self, answers: Callable[[str], bool], count: Callable[[str], None]) -> Elsewhere | None:
        """Whom to pass requests on to; None where every pod has every model."""
        if self._placing is None:
            return None
        from pillion.transport.elsewhere import Elsewhere  # noqa: PLC0415 - as above

        return Elsewhere(self._placing, answers, count)

    @property
    def without(self) -> bool:
        """Whether a pod may be without any model, as others have them all."""
        return self._placing is not None and self._placing.placing and self._placing.placed

    def waiting(self) -> str:
        """What the start still waits for; empty ever after."""
        return "" if self._declared is None else self._declared.waiting()

    def status(self) -> dict[str, Any]:
        """Its part of ``/status``."""
        if self._declared is None:
            return {}
        error = self._declared.error
        placement = {} if self._placing is None else {"placement": self._placing.seen}
        return {"declared": self._declared.report()} | ({"declaredError": error} if error else {}) | placement

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
