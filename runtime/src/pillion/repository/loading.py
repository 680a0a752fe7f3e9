"""Loads of a repository: so many at a time, each in a thread, and what it learns of the model on the way."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.backends.api import ModelLoadError
from pillion.execution.cgroup import available_cpus
from pillion.repository import loader
from pillion.repository.background import Background
from pillion.repository.expected import Expected
from pillion.repository.residency import artifact_bytes, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.repository.entry import Entry, Key
    from pillion.repository.served import RepositorySettings, Served

__all__ = ["Loading"]


class Loading:
    """See the module.

    Args:
        settings: of the repository.
        entries: every version.
    """

    def __init__(self, settings: RepositorySettings, entries: Mapping[Key, Entry]) -> None:
        self._settings = settings
        self._entries = entries
        self._cpus = settings.cpus or available_cpus()
        self._threads = Background("model-loader", settings.concurrent_loads)
        self._loads = self._begun = 0

    async def load(self, key: Key, entry: Entry) -> tuple[Served, str]:
        """The model, warm and in agreement with all others; also the name of its format.

        Raises:
            ModelLoadError: with sentence and remedy.
            Exception: whatever the library raised.
        """
        desired = entry.desired
        python = desired.is_python or desired.name in self._settings.classes
        expected = entry.expected = Expected(python=python)
        try:
            served, found = await self._measured(entry, expected)
            await self._agreed(key, entry, served)
        finally:
            expected.end()
        return served, found

    async def files_of(self, entry: Entry) -> int:
        """Bytes of a version's files."""
        return await self._threads.run(partial(artifact_bytes, Path(entry.desired.path)))

    async def _measured(self, entry: Entry, expected: Expected) -> tuple[Served, str]:
        """The model; what it takes of the memory is noted where somebody counts it."""
        work = partial(loader.load, entry.desired, self._settings, self._cpus, expected.tell)
        if self._settings.memory_budget is None and not self._settings.measure:
            return await self._threads.run(work)
        alone = self._loads == 0
        self._loads += 1
        self._begun += 1
        begun, before, modules = self._begun, resident_bytes(), len(sys.modules)
        try:
            loaded = await self._threads.run(work)
        finally:
            self._loads -= 1
        files = await self.files_of(entry)
        # What a placement counts is the model's own: libraries that came with it are there for all that follow.
        own = not self._settings.measure or modules == len(sys.modules)
        grown = resident_bytes() - before if own and alone and begun == self._begun else 0
        entry.size = max(files, grown, 1)
        return loaded

    async def _agreed(self, key: Key, entry: Entry, served: Served) -> None:
        """Let go of a model again whose tasks are not those that others have under their names."""
        tasks = getattr(served.model, "tasks", None)
        if not tasks:
            return
        from pillion.repository.agreement import agree  # noqa: PLC0415 - most models have no tasks

        try:
            training = getattr(getattr(served.model, "definition", None), "training", None)
            await agree(key, entry, self._entries, tasks, training)
        except BaseException as error:
            if isinstance(error, ModelLoadError):
                error.files = tuple(getattr(served.model, "files", ()))
            served.close()
            raise
