"""The EndpointSlices of our services as they are now, by a list and a watch."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from pillion_operator.activator.routes import Claim, Route, Target, routes_in, targets_in
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import ENDPOINT_SLICE
from pillion_operator.state.manifest import Key, Manifest, key_of, labels_of, version_of
from pillion_operator.state.names import OWNER_LABEL, SERVICE_NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pillion_operator.client.kubernetes import KubernetesClient

__all__ = ["Slices"]

_log: Final = logging.getLogger(__name__)
_WATCH_SECONDS: Final = 240
_AGAIN_SECONDS: Final = 2.0


class Slices:
    """What is known. `changed` is called after each change of the map from ports to Services."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._known: dict[str, dict[Key, Manifest]] = defaultdict(dict)
        self._of: dict[Key, dict[Key, Manifest]] = defaultdict(dict)
        self._routes: dict[int, Route] = {}
        self._stood_for: frozenset[Route] = frozenset()
        self._refused: tuple[Claim, ...] = ()
        self._changed = changed
        self._news = asyncio.Event()
        self._listed: set[str] = set()

    @property
    def routes(self) -> dict[int, Route]:
        """For which port of which Service each port of ours stands."""
        return self._routes

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
        return self._listed.issuperset(namespaces)

    def replace(self, namespace: str, manifests: Iterable[Manifest]) -> None:
        """Take a list for the truth about a namespace, or about the cluster where it is empty."""
        for key in list(self._known[namespace]):
            self._drop(namespace, key)
        for manifest in manifests:
            self._put(namespace, manifest)
        self._listed.add(namespace)
        self._tell()

    def apply(self, namespace: str, kind: str, manifest: Manifest) -> None:
        """Take one change over."""
        if kind == "DELETED":
            self._drop(namespace, key_of(manifest))
        elif kind in {"ADDED", "MODIFIED"}:
            self._put(namespace, manifest)
        else:
            return
        self._tell()

    async def follow(self, client: KubernetesClient, namespace: str) -> None:
        """List and watch one namespace, or the cluster where it is empty, until cancelled."""
        while True:
            try:
                listing = await client.list(ENDPOINT_SLICE, namespace, label_selector=OWNER_LABEL)
                self.replace(namespace, listing.items)
                version = listing.version
                while version:
                    version = await self._watch(client, namespace, version)
            except ApiError as error:
                level = logging.DEBUG if error.status == 410 else logging.WARNING
                _log.log(level, "EndpointSlices are listed anew: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self, client: KubernetesClient, namespace: str, version: str) -> str:
        """Watch once; return the version to go on from."""
        changes = client.watch(ENDPOINT_SLICE, namespace, version, label_selector=OWNER_LABEL, seconds=_WATCH_SECONDS)
        async for change in changes:
            self.apply(namespace, change.type, change.manifest)
            version = version_of(change.manifest) or version
        return version

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

    def _tell(self) -> None:
        everything = [one for known in self._known.values() for one in known.values()]
        routes, refused = routes_in(everything, self._routes)
        if refused != self._refused:
            self._refused = refused
            for claim in refused:
                _log.warning("port %d is %s's, and %s claims it too", claim.port, claim.kept, claim.refused)
        news, self._news = self._news, asyncio.Event()
        news.set()
        if routes != self._routes:
            self._routes = routes
            self._stood_for = frozenset(routes.values())
            self._changed()


def _service(manifest: Manifest) -> Key:
    return Key(key_of(manifest).namespace, labels_of(manifest).get(SERVICE_NAME_LABEL, ""))
