"""A list and a watch of one kind, for who keeps its objects."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from pillion_operator.client.errors import ApiError
from pillion_operator.state.manifest import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest

__all__ = ["Keeper", "follow"]

_log: Final = logging.getLogger(__name__)
_WATCH_SECONDS: Final = 240
_AGAIN_SECONDS: Final = 2.0


class Keeper(Protocol):
    """Keeps what is told of a namespace, or of the cluster where the namespace is empty."""

    def replace(self, namespace: str, manifests: Iterable[Manifest]) -> None:
        """Take a list for the truth."""

    def apply(self, namespace: str, kind: str, manifest: Manifest) -> None:
        """Take one change over: `ADDED`, `MODIFIED`, `DELETED`, or something of no interest."""


async def follow(
    client: KubernetesClient,
    kind: Kind,
    namespace: str,
    keeper: Keeper,
    *,
    selector: str = "",
    metadata_only: bool = False,
) -> None:
    """Tell the keeper of one namespace, or of the cluster where it is empty, until cancelled."""
    while True:
        try:
            listing = await client.list(kind, namespace, label_selector=selector, metadata_only=metadata_only)
            keeper.replace(namespace, listing.items)
            version = listing.version
            while version:
                changes = client.watch(
                    kind,
                    namespace,
                    version,
                    label_selector=selector,
                    seconds=_WATCH_SECONDS,
                    metadata_only=metadata_only,
                )
                async for change in changes:
                    keeper.apply(namespace, change.type, change.manifest)
                    version = version_of(change.manifest) or version
        except ApiError as error:
            level = logging.DEBUG if error.status == 410 else logging.WARNING
            _log.log(level, "%s are listed anew: %s", kind.plural, error)
            await asyncio.sleep(_AGAIN_SECONDS)
