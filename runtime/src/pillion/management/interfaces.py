"""What a deployment is told, and what it asks of who serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from pillion.management.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from pillion.model import ModelStatus
    from pillion.runtimefile import DesiredModel

__all__ = ["NamingPlane", "Order", "Plane", "StoreSettings"]


class Plane(Protocol):
    """What is asked of the data plane."""

    async def add(self, model: DesiredModel, *, lazy: bool = False, keep: bool = False) -> None:
        """Serve a version, beside what else there is."""
        ...

    async def remove(self, name: str, versions: Collection[str]) -> None:
        """Take versions that were added out of service."""
        ...

    def added(self, name: str) -> tuple[str, ...]:
        """The versions of a model that were added."""
        ...

    def declares(self, name: str) -> bool:
        """Whether others than requests brought a model of that name."""
        ...

    def statuses(self) -> Sequence[ModelStatus]:
        """Every version that is known."""
        ...


class NamingPlane(Plane, Protocol):
    """The same of one whose versions have names, and take other configs."""

    async def reconfigure(self, name: str, version: str, config: Mapping[str, Any]) -> int:
        """Give a version another config; how many worker processes took it."""
        ...

    def alias(self, name: str, aliases: Mapping[str, str]) -> None:
        """Let versions answer to other names, too."""
        ...


class StoreSettings(msgspec.Struct, frozen=True):
    """Where versions are kept, and how they are served."""

    folder: Path | None = None
    lazy: bool = False
    """Whether a version is loaded by its first request."""
    retention: Retention = Retention()
    """Which versions stay in the folder."""


class Order(msgspec.Struct, frozen=True):
    """What is to be deployed as, beside the files."""

    name: str
    metadata: Mapping[str, Any] = {}
    format: str | None = None
    """Where it cannot be told from the files."""
