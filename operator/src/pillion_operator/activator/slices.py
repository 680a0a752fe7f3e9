"""The EndpointSlices of our services as they are now, and the InferenceServices that they must belong to."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from pillion_operator.activator.routes import Claim, Route, Target, routes_in, targets_in
from pillion_operator.activator.trust import distrust, is_for, is_of_former_release
from pillion_operator.state.manifest import Key, Manifest, key_of, labels_of, uid_of
from pillion_operator.state.names import SERVICE_NAME_LABEL
from pillion_operator.state.slices import holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Owners", "Slices"]

_log: Final = logging.getLogger(__name__)


class Owners:
    """The uids of the InferenceServices. `changed` is called when there is one more, or one less."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.uids: dict[Key, str] = {}
        """Of each InferenceService that there is."""
        self._changed = changed
        self._listed: set[str] = set()

    def listed(self, namespaces: Iterable[str]) -> bool:
        """Whether all of these are known."""
        return self._listed.issuperset(namespaces)

    def replace(self, namespace: str, manifests: Iterable[Manifest]) -> None:
        """Take a list for the truth about a namespace, or about the cluster where it is empty."""
        kept = {key: uid for key, uid in self.uids.items() if namespace and key.namespace != namespace}
        before, self.uids = self.uids, kept | {key_of(one): uid_of(one) for one in manifests}
        self._listed.add(namespace)
        if self.uids != before:
            self._changed()

    def apply(self, namespace: str, kind: str, manifest: Manifest) -> None:
        """Take one change over."""
        del namespace
        key, uid = key_of(manifest), uid_of(manifest)
        if kind == "DELETED":
            self.uids.pop(key, None)
        elif kind not in {"ADDED", "MODIFIED"} or self.uids.get(key) == uid:
            return
        else:
            self.uids[key] = uid
        self._changed()


class Slices:
    """What is known. `changed` is called after each change of the map from ports to Services.

    `looked` is called after each change of a slice of the map.

    A slice is part of the map where it names this `activator` and is one of the operator's, as far as can be seen.
    """

    def __init__(
        self, activator: str, changed: Callable[[], None] = lambda: None, looked: Callable[[], None] = lambda: None
    ) -> None:
        self.owners = Owners(self._look)
        self._activator = activator
        self._known: dict[str, dict[Key, Manifest]] = defaultdict(dict)
        self._of: dict[Key, dict[Key, Manifest]] = defaultdict(dict)
        self._routes: dict[int, Route] = {}
        self._stood_for: frozenset[Route] = frozenset()
        self._believed: tuple[Manifest, ...] = ()
        self._claims: tuple[Claim, ...] = ()
        self._distrusted: dict[Key, str] = {}
        self._changed = changed
        self._looked = looked
        self._news = asyncio.Event()
        self._listed: set[str] = set()

    @property
    def routes(self) -> dict[int, Route]:
        """For which port of which Service each port of ours stands."""
        return self._routes

    @property
    def distrusted(self) -> int:
        """How many slices name this activator, and are not believed."""
        return len(self._distrusted)

    @property
    def holding(self) -> tuple[Manifest, ...]:
        """The slices whose Services this activator is to hold connections of."""
        return tuple(one for one in self._believed if holds(one))

    def left_by_former_release(self, replicas: frozenset[str]) -> int:
        """Return how many slices lead to those replicas that no operator of this release has taken over yet."""
        known = (one for each in self._known.values() for one in each.values())
        return sum(is_of_former_release(one, self.owners.uids, replicas) for one in known)

    def stand_for(self, route: Route) -> bool:
        """Whether a port of ours still stands for it."""
        return route in self._stood_for

    def targets(self, route: Route) -> tuple[Target, ...]:
        """Return where Ready pods listen."""
        return targets_in(self._of.get(Key(route.namespace, route.service), {}).values(), route)

    async def news(self, within: float) -> None:
        """Return once something has changed, or that time is over."""
        try:
            async with asyncio.timeout(within):
                await self._news.wait()
        except TimeoutError:
            return

    def listed(self, namespaces: Iterable[str]) -> bool:
        """Whether all of these are known."""
        namespaces = tuple(namespaces)
        return self._listed.issuperset(namespaces) and self.owners.listed(namespaces)

    def replace(self, namespace: str, manifests: Iterable[Manifest]) -> None:
        """Take a list for the truth about a namespace, or about the cluster where it is empty."""
        for key in list(self._known[namespace]):
            self._drop(namespace, key)
        for manifest in manifests:
            self._put(namespace, manifest)
        self._listed.add(namespace)
        self._look()

    def apply(self, namespace: str, kind: str, manifest: Manifest) -> None:
        """Take one change over."""
        before = self._known[namespace].get(key_of(manifest), {})
        if kind == "DELETED":
            self._drop(namespace, key_of(manifest))
        elif kind in {"ADDED", "MODIFIED"}:
            self._put(namespace, manifest)
        else:
            return
        if is_for(before, self._activator) or is_for(manifest, self._activator):
            self._look()
        else:
            self._tell()  # Pods come and go all the time, and are no part of the map.

    def _put(self, namespace: str, manifest: Manifest) -> None:
        key = key_of(manifest)
        self._drop(namespace, key)
        self._known[namespace][key] = manifest
        self._of[_service(manifest)][key] = manifest

    def _drop(self, namespace: str, key: Key) -> None:
        known = self._known[namespace].pop(key, None)
        if known is None:
            return
        service = _service(known)
        self._of[service].pop(key, None)
        if not self._of[service]:
            del self._of[service]

    def _look(self) -> None:
        """Work out the map anew, and say what of it is not believed."""
        named = [one for known in self._known.values() for one in known.values() if is_for(one, self._activator)]
        why = {key_of(one): distrust(one, self.owners.uids) for one in named}
        self._say_distrust({key: text for key, text in why.items() if text})
        self._believed = tuple(one for one in named if not why[key_of(one)])
        routes, claims = routes_in(self._believed, self._routes)
        if claims != self._claims:
            self._claims = claims
            for claim in claims:
                _log.warning("port %d is %s's, and %s claims it too", claim.port, claim.kept, claim.refused)
        if routes != self._routes:
            self._routes = routes
            self._stood_for = frozenset(routes.values())
            self._changed()
        self._tell()
        self._looked()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _say_distrust(self, found: dict[Key, str]) -> None:
        # Until both lists have come, every slice lacks its owner.
        if not self.listed(self._listed):
            return
        before = {key_of(one) for one in self._believed}
        for key, text in found.items():
            if self._distrusted.get(key) != text:
                # A slice goes a moment after its InferenceService.
                level = logging.INFO if key in before else logging.WARNING
                _log.log(level, "EndpointSlice %s is not believed, nothing is listened on for it: %s", key, text)
        self._distrusted = found


def _service(manifest: Manifest) -> Key:
    return Key(key_of(manifest).namespace, labels_of(manifest).get(SERVICE_NAME_LABEL, ""))
