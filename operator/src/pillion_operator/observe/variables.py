"""Which variables Secrets and ConfigMaps bring by `envFrom`: their keys, never their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.observe.remembered import Remembered
from pillion_operator.state.kinds import CONFIG_MAP, SECRET
from pillion_operator.state.manifest import Key, object_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pillion_operator.builders.variables import Source
    from pillion_operator.client.kubernetes import KubernetesClient

__all__ = ["VariableNames"]

_KINDS: Final = {"secretRef": SECRET, "configMapRef": CONFIG_MAP}


class VariableNames:
    """Reads the keys of objects by name, and remembers them briefly."""

    def __init__(self, client: KubernetesClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._known: Remembered[frozenset[str]] = Remembered(clock)

    async def read(self, namespace: str, sources: Iterable[Source]) -> dict[Source, frozenset[str]]:
        """Return the keys of each; those that are not there, or may not be read, are left out.

        Raises:
            ApiError: the API server could not be asked.
        """
        found: dict[Source, frozenset[str]] = {}
        for source in dict.fromkeys(sources):
            keys = self._known.get((namespace, source))
            if keys is None:
                keys = await self._keys(namespace, source)
            if keys is not None:
                found[source] = self._known.put((namespace, source), keys, found=True)
        return found

    async def _keys(self, namespace: str, source: Source) -> frozenset[str] | None:
        kind, name = source
        try:
            stored = await self._client.get(_KINDS[kind], Key(namespace, name))
        except ApiError as error:
            if not error.refused:
                raise
            return None
        return None if stored is None else frozenset(object_at(stored, "data"))
