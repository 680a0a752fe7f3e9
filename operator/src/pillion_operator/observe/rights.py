"""Which rights the operator lacks, by the API server's own word: known before anything is refused."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.builders.rights import lacking
from pillion_operator.client.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pillion_operator.builders.rights import Lack
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.rbac import Rule

__all__ = ["Rights"]

_log: Final = logging.getLogger(__name__)
#: Rights of the whole cluster are the same in each namespace, whether there is one of that name or not.
_ANY_NAMESPACE: Final = "default"


class Rights:
    """Asks again and again what the operator may do. `changed` is told where the answer is another one."""

    def __init__(
        self, needed: Callable[[], Iterable[Rule]], namespaces: Sequence[str], changed: Callable[[], None]
    ) -> None:
        """Prepare; without namespaces the whole cluster is asked for."""
        self._needed = needed
        self._namespaces = tuple(namespaces)
        self._changed = changed
        self._lacks: dict[str, tuple[Lack, ...]] = {}

    def lacks(self, namespace: str) -> tuple[Lack, ...]:
        """Return what lacks in that namespace, as far as it is known."""
        return self._lacks.get(namespace if self._namespaces else _ANY_NAMESPACE, ())

    async def run(self, client: KubernetesClient, leading: asyncio.Event, seconds: float) -> None:
        """Ask once this replica leads, then where something lacks or more is needed, until cancelled.

        At rest nothing is asked: for the API server a review is something that is created.
        """
        await leading.wait()
        asked: tuple[Rule, ...] = ()
        while True:
            needed = tuple(self._needed())
            if needed != asked or any(self._lacks.values()):
                try:
                    await self._ask(client, needed)
                    asked = needed
                except ApiError as error:
                    _log.warning("the API server cannot be asked what the operator may do: %s", error)
            await asyncio.sleep(seconds)

    async def _ask(self, client: KubernetesClient, needed: tuple[Rule, ...]) -> None:
        found = {
            namespace: lacking(needed, await client.review(namespace))
            for namespace in self._namespaces or (_ANY_NAMESPACE,)
        }
        if found == self._lacks:
            return
        before, self._lacks = self._lacks, found
        for namespace, lacks in found.items():
            if lacks and lacks != before.get(namespace):
                where = f" in namespace {namespace}" if self._namespaces else ""
                said = ", ".join(map(str, lacks))
                _log.error("the operator may not%s: %s; bind it to the roles of its release", where, said)
        if any(before.values()) or any(found.values()):
            self._changed()
