"""Which pods have which of the declared models, as it is decided now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.placementfile import PlacementFile

__all__ = ["Placement"]


@dataclass(frozen=True, slots=True)
class Placement:
    """The decision.

    Attributes:
        file: as pods are told of it.
        ids: by which pods report each model, by its name.
    """

    file: PlacementFile
    ids: Mapping[str, str]
