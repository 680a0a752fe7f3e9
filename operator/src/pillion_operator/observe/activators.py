"""The replicas of the activator, and what each says that it listens for.

Which of them take connections is told by the EndpointSlices of their own Service; an address is believed only where
its `/routes` names the port for that very Service, so that nobody is led to a port that is not open yet.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from pillion_operator.state.kinds import ENDPOINT_SLICE
from pillion_operator.state.manifest import Manifest, number_at, object_at, objects_at, value_at
from pillion_operator.state.names import SERVICE_NAME_LABEL
from pillion_operator.state.zero import Activators

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion_operator.client.kubernetes import KubernetesClient

__all__ = ["ActivatorReader"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0, connect=1.0)
_MOST_BYTES: Final = 4 * 1024 * 1024
#: Keys of JSON are texts.
_ROUTES: Final = msgspec.json.Decoder(dict[int, str], strict=False)


class ActivatorReader:
    """Asks the activator, whose Service is called `service` and stands in the operator's own namespace."""

    def __init__(self, client: KubernetesClient, session: aiohttp.ClientSession, namespace: str, service: str) -> None:
        self._client = client
        self._session = session
        self._namespace = namespace
        self._service = service

    @property
    def name(self) -> str:
        """What slices call this activator."""
        return f"{self._namespace}/{self._service}"

    async def read(self) -> Activators:
        """Return the replicas that answer.

        Raises:
            ApiError: the API server could not be asked.
        """
        if not self._service:
            return Activators({})
        selector = f"{SERVICE_NAME_LABEL}={self._service}"
        listing = await self._client.list(ENDPOINT_SLICE, self._namespace, label_selector=selector)
        admins = dict(_admins(listing.items))
        answers = await asyncio.gather(*(self._ask(*admin) for admin in admins.items()))
        return Activators({address: ports for address, ports in zip(admins, answers, strict=True) if ports is not None})

    async def _ask(self, address: str, port: int) -> dict[int, str] | None:
        try:
            async with self._session.get(
                f"http://{address}:{port}/routes", timeout=_TIMEOUT, allow_redirects=False
            ) as response:
                if response.status != 200:
                    return None
                content = await response.content.read(_MOST_BYTES)
                while len(content) < _MOST_BYTES and (piece := await response.content.read(_MOST_BYTES)):
                    content += piece
            return _ROUTES.decode(content)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
            return None


def _admins(slices: Iterable[Manifest]) -> Iterable[tuple[str, int]]:
    """Yield the address and admin port of each replica that is Ready, and stays."""
    for one in slices:
        if one.get("addressType") != "IPv4":
            continue
        port = next((number_at(entry, "port") for entry in objects_at(one, "ports")), 0)
        for endpoint in objects_at(one, "endpoints"):
            addresses = value_at(endpoint, "addresses")
            if object_at(endpoint, "conditions").get("ready") is not False and isinstance(addresses, list):
                yield from ((str(address), port) for address in addresses)
