"""Versions that leave the store. Blocking."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Final

from pillion.errors import PillionError
from pillion.management.retention import surplus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.management.retention import Retention
    from pillion.modelstore import ModelStore, ModelVersion

__all__ = ["purge_versions", "remove_surplus"]

_log: Final = logging.getLogger(__name__)


def remove_surplus(store: ModelStore, name: str, retention: Retention) -> None:
    """Remove the versions of a model of which more are there than are to be kept."""
    deployed = store.deployed_of(name)
    used = {*store.aliases(name).values(), *(() if deployed is None else (deployed.version,))}
    for version in surplus(store.versions(name), used, retention, dt.datetime.now(dt.UTC)):
        try:
            store.delete(name, version.version)
        except PillionError as error:  # in use, by another process perhaps: its time comes
            _log.debug("version %s of model %s stays: %s", version.version, name, error)
        else:
            _log.info(
                "version %s of model %s was removed, by models.keep_versions or models.keep_seconds",
                version.version,
                name,
                extra={"model": name},
            )


def purge_versions(store: ModelStore, versions: Sequence[ModelVersion]) -> None:
    """Remove all versions of a model, and the aliases with them.

    Raises:
        PillionError: ``CONFLICT``; one is in use.
    """
    for alias in store.aliases(versions[0].name) if versions else ():
        store.alias(versions[0].name, alias, None)
    for version in versions:
        store.delete(version.name, version.version)
