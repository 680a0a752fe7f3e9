"""This pod's part of a placement: which declared models are its own, and which pods have the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pillion import placementfile
from pillion.placementfile import PlacementFileError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from pillion.modelsfile import FoundModels
    from pillion.placementfile import Peer, PlacementFile

__all__ = ["Placing", "share_of"]


class Placing:
    """Follows ``placement.json`` for the pod of that name.

    Args:
        path: the file; where there is none, every pod has every model.
        pod: this one's name.
    """

    def __init__(self, path: Path, pod: str) -> None:
        self.path = path
        self.pod = pod
        self._file: PlacementFile | None = None
        self.seen = ""
        """By which the file is known that is followed; empty where there is none."""
        self.error = ""
        """Why the file as it is now is not followed; empty when it is."""

    @property
    def placed(self) -> bool:
        """Whether it is known what this pod is to have."""
        return self._file is None or self.pod in self._file.pods

    @property
    def placing(self) -> bool:
        """Whether there is a placement at all."""
        return self._file is not None

    def read(self) -> None:
        """Read the file as it is now; one that cannot be used leaves things as they are. Blocking."""
        try:
            text = self.path.read_bytes()
            self._file = placementfile.load(text)
            self.seen = placementfile.seen_of(text)
        except FileNotFoundError:
            self._file, self.seen = None, ""
        except (OSError, PlacementFileError) as error:
            self.error = f"{self.path}: {error}"
            return
        self.error = ""

    def share(self, found: FoundModels, kept: Collection[str]) -> FoundModels:
        """What of the declared models this pod is to have; see :func:`share_of`."""
        return found if self._file is None else share_of(self._file, self.pod, found, kept)

    def knows(self, model: str) -> bool:
        """Whether some pod is to have that model."""
        return self._file is not None and model in self._file.models

    def others(self, model: str) -> list[Peer]:
        """The other pods that have it or are to have it."""
        if self._file is None or model not in self._file.models:
            return []
        pods, holders = self._file.pods, self._file.models[model].holders
        return [pods[name] for name in dict.fromkeys(holders) if name != self.pod and name in pods]

    def lacking(self, model: str) -> str:
        """Why pods lack it, as the file says; empty where it says nothing."""
        return "" if self._file is None or model not in self._file.models else self._file.models[model].why


def share_of(file: PlacementFile, pod: str, found: FoundModels, kept: Collection[str]) -> FoundModels:
    """What of the declared models a pod is to have.

    A pod that the file does not name keeps what it has: who wrote it could not reach the pod, and what serves is not
    taken away for that.

    Args:
        file: the placement.
        pod: the pod's name.
        found: all declared models.
        kept: names of those that it has.
    """
    if pod not in file.pods:
        mine = set(kept)
    else:
        mine = {name for name, placed in file.models.items() if pod in placed.holders}
    return msgspec.structs.replace(
        found,
        models=tuple(model for model in found.models if model.name in mine),
        refused=tuple(model for model in found.refused if model.name in mine),
    )
