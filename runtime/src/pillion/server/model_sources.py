"""Where a server's models come from besides their declaration: deployments, a watched folder, graphs of others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pillion.errors import PillionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.composition.graph_models import GraphClasses
    from pillion.dataplane.plane import DataPlane
    from pillion.management.deployments import Deployments
    from pillion.management.folder_watch import FolderWatch
    from pillion.runtimefile import DesiredModel
    from pillion.server.settings_of_models import ModelSettings

__all__ = ["ModelSources"]

_log = logging.getLogger(__name__)


class ModelSources:
    """Event loop's thread only.

    Args:
        settings: of models.
        plane: where the models are.
        classes: models written in Python that the embedding program hands over, and those that graphs make, by name.
        trainer: the served model whose class has a training of that name.
    """

    def __init__(
        self,
        settings: ModelSettings,
        plane: DataPlane,
        classes: dict[str, type[Any]],
        trainer: Callable[[str], DesiredModel],
    ) -> None:
        self._settings = settings
        self._plane = plane
        self._classes = classes
        self._trainer = trainer
        self._graphs: GraphClasses | None = None
        self._deployments: Deployments | None = None

    async def apply(self, models: Sequence[DesiredModel]) -> None:
        """Serve these models, and those that graphs put together, in the place of the ones before."""
        if self._graphs is None and any(model.graph is not None for model in models):
            from pillion.composition import graph_models  # noqa: PLC0415 - few servers have graphs

            self._graphs = graph_models.GraphClasses(self._classes)
        if self._graphs is not None:
            self._graphs.follow(models)
        await self._plane.apply(models)

    def deployments(self) -> Deployments:
        """What deploys models by requests; made when it is asked for first."""
        if self._deployments is None:
            from pillion.management.deployments import Deployments  # noqa: PLC0415 - few servers need it
            from pillion.management.interfaces import StoreSettings  # noqa: PLC0415 - as above
            from pillion.management.retention import Retention  # noqa: PLC0415 - as above

            models = self._settings
            folder = _folder(models.store) if models.store else None
            kept = Retention(models.keep_versions, models.keep_seconds)
            settings = StoreSettings(folder, models.lazy, kept)
            self._deployments = Deployments(self._plane, settings, self._trainer)
        return self._deployments

    async def restore(self) -> None:
        """Serve again what was deployed before; what keeps that from being done is told, and serves nothing."""
        if not self._settings.store:
            return
        try:
            await self.deployments().restore()
        except PillionError as error:
            _log.error("models.store %s: %s", self._settings.store, error)

    async def watched(self) -> FolderWatch | None:
        """Serve what is in the watched folder; what follows it from then on. None where none is."""
        models = self._settings
        if not models.watch:
            return None
        from pillion.management.folder_watch import FolderWatch, WatchSettings  # noqa: PLC0415 - few servers watch one

        settings = WatchSettings(
            _folder(models.watch),
            quiet=models.watch_quiet_seconds,
            lazy=models.lazy,
            allow_pickle=models.watch_allow_pickle,
        )
        following = FolderWatch(self._plane, settings, self.deployments().note)
        await following.begin()
        return following

    async def close(self, seconds: float) -> None:
        """Let deployments in progress end."""
        if self._deployments is not None:
            await self._deployments.close(seconds)


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()
