"""The periodic list that decides what exists.

A watch that breaks with deletions in the gap never tells of them, and a watch can go silent without breaking. So every
minute the metadata of all objects is listed, and what differs from the caches is read or dropped. A difference that
the watch delivers within two seconds was only on its way; one that it does not was missed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.observe.store import newer
from pillion_operator.state.kinds import OPTIONAL, selector_of
from pillion_operator.state.manifest import key_of, uid_of, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion_operator.client.kubernetes import KubernetesClient, Listing
    from pillion_operator.observe.store import Store
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Key, Manifest

__all__ = ["Resync"]

_log: Final = logging.getLogger(__name__)
#: What a healthy watch needs at most to deliver a change.
_DELIVERY_SECONDS: Final = 2.0
_FORBIDDEN: Final = 403


class Resync:
    """Lists every kind and corrects the caches."""

    def __init__(
        self,
        client: KubernetesClient,
        store: Store,
        kinds: Callable[[], Sequence[Kind]],
        namespaces: Sequence[str],
        changed: Callable[[Kind, Manifest], None],
        within: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Prepare; `kinds` is asked in each round, `changed` told of every object found new, changed or gone.

        `within` says of which namespaces objects are taken.

        Of one that changed it is told what it was before, too: what it has let go of is to be looked at as well.
        """
        self._client = client
        self._store = store
        self._kinds = kinds
        self._namespaces = tuple(namespaces) or ("",)
        self._changed = changed
        self._within = within
        self.refused: dict[tuple[Kind, str], ApiError] = {}
        """What the API server did not let us list in the last round, by kind and namespace, and its words."""
        self.unanswered: dict[Kind, ApiError] = {}
        """Optional kinds that could not be listed in the last round: whoever serves them has trouble of its own."""

    async def fill(self, namespace: str | None = None, kinds: Sequence[Kind] | None = None) -> None:
        """List everything in full and take it over, at the start. What may not be listed is in :attr:`refused` then.

        With a namespace, what is in that one; with kinds, these alone, and then any of them has to answer.

        Raises:
            ApiError: the API server could not be asked.
        """
        refused: dict[tuple[Kind, str], ApiError] = {}
        unanswered: dict[Kind, ApiError] = {}
        for kind in self._kinds() if kinds is None else kinds:
            spaces = self._spaces(kind) if namespace is None else [namespace] if kind.namespaced else []
            for space in spaces:
                try:
                    listing = await self._list(kind, space, metadata_only=False)
                except ApiError as error:
                    if kinds is None and _is_its_own_trouble(kind, error):
                        unanswered[kind] = error
                        break
                    if error.status != _FORBIDDEN:
                        raise
                    refused[kind, space] = error  # The others too, so that all that lacks is said at once.
                    continue
                for item in listing.items:
                    self._take(kind, item)
                self._drop(kind, self._gone(kind, space, listing))
        whole = namespace is None and kinds is None
        self.refused = refused if whole else self.refused | refused
        self.unanswered = unanswered if whole else self.unanswered | unanswered

    async def correct(self) -> dict[Kind, int]:
        """List metadata, correct what the watches missed, and return how much that was, by kind.

        Raises:
            ApiError: the API server could not be asked.
        """
        missed: dict[Kind, int] = {}
        refused: dict[tuple[Kind, str], ApiError] = {}
        unanswered: dict[Kind, ApiError] = {}
        for kind in self._kinds():
            for namespace in self._spaces(kind):
                try:
                    number = await self._correct(kind, namespace)
                except ApiError as error:
                    if _is_its_own_trouble(kind, error):
                        unanswered[kind] = error
                        break
                    if error.status != _FORBIDDEN:
                        raise
                    refused[kind, namespace] = error
                    continue
                if number:
                    missed[kind] = missed.get(kind, 0) + number
        self.refused, self.unanswered = refused, unanswered
        return missed

    async def _correct(self, kind: Kind, namespace: str) -> int:
        listing = await self._list(kind, namespace, metadata_only=True)
        if not self._stale(kind, listing) and not self._gone(kind, namespace, listing):
            return 0
        await asyncio.sleep(_DELIVERY_SECONDS)
        stale, gone = self._stale(kind, listing), self._gone(kind, namespace, listing)
        for key in stale:
            fresh = await self._client.get(kind, key)
            if fresh is not None and self._within(key.namespace):
                self._take(kind, fresh)
        self._drop(kind, gone)
        if stale or gone:
            _log.warning("the watch of %s had missed %d changes and %d deletions", kind.plural, len(stale), len(gone))
        return len(stale) + len(gone)

    def _take(self, kind: Kind, fresh: Manifest) -> None:
        before = self._store.get(kind, key_of(fresh))
        if self._store.record(kind, fresh):
            self._changed(kind, fresh)
            if before is not None:
                self._changed(kind, before)

    def _spaces(self, kind: Kind) -> Sequence[str]:
        return self._namespaces if kind.namespaced else ("",)

    async def _list(self, kind: Kind, namespace: str, *, metadata_only: bool) -> Listing:
        selector = selector_of(kind)
        found = await self._client.list(kind, namespace, label_selector=selector, metadata_only=metadata_only)
        return replace(found, items=tuple(item for item in found.items if self._within(key_of(item).namespace)))

    def _stale(self, kind: Kind, listing: Listing) -> list[Key]:
        """Return the objects of the list that the caches lack or have in an older version."""
        found: list[Key] = []
        for item in listing.items:
            known = self._store.get(kind, key_of(item))
            if known is None or newer(version_of(item), version_of(known)):
                found.append(key_of(item))
        return found

    def _gone(self, kind: Kind, namespace: str, listing: Listing) -> list[Manifest]:
        """Return cached objects that the list lacks and that are not newer than it."""
        listed = {uid_of(item) for item in listing.items}
        known = self._store.all(kind, namespace)
        return [
            found for found in known if uid_of(found) not in listed and not newer(version_of(found), listing.version)
        ]

    def _drop(self, kind: Kind, gone: Sequence[Manifest]) -> None:
        for manifest in gone:
            if self._store.forget(kind, key_of(manifest), uid_of(manifest)) is not None:
                self._changed(kind, manifest)


def _is_its_own_trouble(kind: Kind, error: ApiError) -> bool:
    """Whether a kind that a cluster may as well not have does not answer, and the others may.

    Where the API server itself is away, those that every cluster has do not answer either.
    """
    return kind in OPTIONAL and (error.status in {0, 404} or error.status >= 500)
