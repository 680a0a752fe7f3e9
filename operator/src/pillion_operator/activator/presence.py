"""Where the activator is: each replica keeps its own address in the slices whose connections are to be held.

So it needs nobody else: when replicas are replaced, the new ones write themselves in and take out those that are gone,
whether an operator runs or not. Who is there is told by the EndpointSlices of the activator's own Service.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.activator.routes import claims_in
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import ENDPOINT_SLICE
from pillion_operator.state.manifest import Key, Manifest, array, key_of, version_of
from pillion_operator.state.names import ACTIVATOR_FIELD_MANAGER
from pillion_operator.state.slices import addresses_of, ready_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pillion.resources.base import JsonObject
    from pillion_operator.activator.routes import Route
    from pillion_operator.activator.slices import Slices
    from pillion_operator.client.kubernetes import KubernetesClient

__all__ = ["Presence", "Replicas", "addresses_after"]

_log: Final = logging.getLogger(__name__)
#: How often to look by itself: what the API server has refused is tried again.
_LOOK_SECONDS: Final = 2.0
#: Slices that are written at a time.
_AT_A_TIME: Final = 8


class Replicas:
    """The addresses of the activator's replicas that are Ready, and stay."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.ready: frozenset[str] = frozenset()
        """Empty also while nothing is known."""
        self.known = False
        """Whether they have been listed."""
        self._changed = changed
        self._known: dict[Key, Manifest] = {}

    def replace(self, namespace: str, manifests: Iterable[Manifest]) -> None:
        """Take a list for the truth."""
        del namespace
        self._known = {key_of(one): one for one in manifests}
        self.known = True
        self._look()

    def apply(self, namespace: str, kind: str, manifest: Manifest) -> None:
        """Take one change over."""
        del namespace
        if kind == "DELETED":
            self._known.pop(key_of(manifest), None)
        elif kind in {"ADDED", "MODIFIED"}:
            self._known[key_of(manifest)] = manifest
        self._look()

    def _look(self) -> None:
        slices = (one for one in self._known.values() if one.get("addressType") == "IPv4")
        ready = frozenset(address for one in slices for address in ready_in(one))
        if ready != self.ready:
            self.ready = ready
            self._changed()


def addresses_after(
    now: Iterable[str], own: frozenset[str], ready: frozenset[str], *, listens: bool
) -> tuple[str, ...]:
    """Return where a slice is to lead, as far as this replica can say.

    Each replica speaks for itself alone, and buries those that are gone. While nobody is known to be there nothing is
    taken away: that could not make it better.
    """
    if not ready:
        return tuple(now)
    others = {address for address in now if address in ready and address not in own}
    return tuple(sorted(others | (own & ready if listens else set())))


class Presence:
    """Keeps the slices right, from `run` on. `open_ports` says what this replica listens for."""

    def __init__(
        self,
        client: KubernetesClient,
        slices: Slices,
        replicas: Replicas,
        own: Iterable[str],
        open_ports: Callable[[], Mapping[int, Route]],
    ) -> None:
        self._client = client
        self._slices = slices
        self._replicas = replicas
        self._own = frozenset(own)
        self._open_ports = open_ports
        self._written: dict[Key, str] = {}

    async def run(self, news: asyncio.Event) -> None:
        """Look whenever there is news, until cancelled."""
        while True:
            news.clear()
            await self._round()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await news.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        holding = self._slices.holding
        keys = {key_of(one) for one in holding}
        self._written = {key: version for key, version in self._written.items() if key in keys}
        opened = self._open_ports()
        wrong = [(one, after) for one in holding if (after := self._after(one, opened)) is not None]
        for at in range(0, len(wrong), _AT_A_TIME):
            await asyncio.gather(*(self._write(*entry) for entry in wrong[at : at + _AT_A_TIME]))

    def _after(self, manifest: Manifest, opened: Mapping[int, Route]) -> tuple[str, ...] | None:
        """Return the addresses that the slice lacks; None where it is right."""
        if self._written.get(key_of(manifest)) == version_of(manifest):
            return None  # The watch has not told of it yet.
        now = addresses_of(manifest)
        listens = all(opened.get(port) == route for port, route in claims_in(manifest))
        after = addresses_after(now, self._own, self._replicas.ready, listens=listens)
        return None if after == now else after

    async def _write(self, manifest: Manifest, addresses: tuple[str, ...]) -> None:
        endpoints: list[JsonObject] = [{"addresses": [one], "conditions": {"ready": True}} for one in addresses]
        # Where somebody has changed it meanwhile, the watch will tell.
        version: JsonObject = {"resourceVersion": version_of(manifest)}
        patch: JsonObject = {"metadata": version, "endpoints": array(endpoints)}
        key = key_of(manifest)
        try:
            await self._client.merge(ENDPOINT_SLICE, key, patch, manager=ACTIVATOR_FIELD_MANAGER)
        except ApiError as error:
            level = logging.DEBUG if error.conflict or error.not_found else logging.WARNING
            _log.log(level, "EndpointSlice %s could not be led here: %s", key, error)
        else:
            self._written[key] = version_of(manifest)
            _log.info("EndpointSlice %s leads to %s", key, ", ".join(addresses) or "nobody")
