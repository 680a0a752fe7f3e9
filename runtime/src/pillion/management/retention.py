"""Which versions of a model are kept in the store. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Sequence

    from pillion.modelstore import ModelVersion

__all__ = ["Retention", "surplus"]


class Retention(msgspec.Struct, frozen=True):
    """How much is kept beside what is deployed or has an alias."""

    versions: int = 0
    """The newest so many, those with a use of their own among them; 0: all."""
    seconds: float = 0.0
    """Those that are younger; 0: of any age."""

    @property
    def keeps_all(self) -> bool:
        """Whether nothing is ever removed."""
        return not self.versions and not self.seconds


def surplus(
    versions: Sequence[ModelVersion], used: Collection[str], retention: Retention, now: dt.datetime
) -> list[ModelVersion]:
    """The versions to remove, the oldest first.

    Args:
        versions: of one model, the oldest first.
        used: versions that are deployed, served or have an alias: they are never removed.
        retention: what is kept of the others. The newest is always kept: it may be about to be deployed.
        now: the time.
    """
    if retention.keeps_all or not versions:
        return []
    kept = {version.version for version in versions[-(retention.versions or len(versions)) :]}
    found: list[ModelVersion] = []
    for version in versions[:-1]:
        old = retention.seconds > 0 and (now - version.created).total_seconds() > retention.seconds
        if version.version not in used and (version.version not in kept or old):
            found.append(version)
    return found
