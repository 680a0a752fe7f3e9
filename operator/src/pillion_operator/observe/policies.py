"""The policies that namespaces carry as labels.

A namespace is read by name, and only one that holds an InferenceService: neither `list` nor `watch` is needed, so the
right fits into a Role of that namespace. What changed is noticed by the next reconcile there, at the latest by the
next periodic round, and then every service of the namespace is looked at.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import NAMESPACE
from pillion_operator.state.manifest import Key, labels_of
from pillion_operator.state.policies import NamespaceRules, rules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.settings import RenderSettings

__all__ = ["NamespacePolicies"]

_log: Final = logging.getLogger(__name__)
#: A burst of reconciles in one namespace asks once.
_FRESH_SECONDS: Final = 5.0


class NamespacePolicies:
    """The rules of each namespace that was asked for."""

    def __init__(
        self,
        client: KubernetesClient,
        installed: RenderSettings,
        clock: Callable[[], float],
        changed: Callable[[str], None],
    ) -> None:
        """Prepare; `changed` is told the name of a namespace whose rules are others than before."""
        self._client = client
        self._installed = installed
        self._clock = clock
        self._changed = changed
        self._known: dict[str, tuple[float, NamespaceRules]] = {}

    async def read(self, namespace: str) -> NamespaceRules:
        """Return the rules of a namespace.

        Raises:
            ApiError: the API server could not be asked.
        """
        until, rules = self._known.get(namespace, (0.0, None))
        return rules if rules is not None and self._clock() < until else await self._ask(namespace)

    async def refresh(self, used: Iterable[str]) -> None:
        """Read every known namespace again; forget those that are not `used` any more.

        Raises:
            ApiError: the API server could not be asked.
        """
        kept = set(used)
        for namespace in list(self._known):
            if namespace in kept:
                await self._ask(namespace)
            else:
                del self._known[namespace]

    async def _ask(self, namespace: str) -> NamespaceRules:
        _, before = self._known.get(namespace, (0.0, None))
        try:
            found = await self._client.get(NAMESPACE, Key("", namespace))
        except ApiError as error:
            if error.status != 403:
                raise
            rules = rules_of(namespace, None, self._installed)
            if before is None:
                _log.warning("the labels of namespace %s cannot be read: %s", namespace, error)
        else:
            rules = rules_of(namespace, labels_of(found or {}), self._installed)
        self._known[namespace] = (self._clock() + _FRESH_SECONDS, rules)
        if before is not None and before != rules:
            self._changed(namespace)
        return rules
