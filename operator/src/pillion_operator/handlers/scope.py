"""Which namespaces are looked after, where a label selector says it.

The cluster is watched as a whole, and what lies in other namespaces is passed over. A namespace that gets the label is
listed at once, and one that loses it is forgotten: its objects stay as they are, for whoever looks after them now.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import NAMESPACE
from pillion_operator.state.manifest import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.manifest import Manifest

__all__ = ["NamespaceScope"]

_log: Final = logging.getLogger(__name__)


class NamespaceScope:
    """The namespaces that the selector selects; every one where there is none."""

    def __init__(self, selector: str, left: Callable[[str], None]) -> None:
        """Prepare; `left` is told the name of a namespace that is not looked after any more."""
        self.selector = selector
        self._left = left
        self._inside: set[str] = set()
        self._joined: set[str] = set()
        self._news = asyncio.Event()

    def includes(self, namespace: str) -> bool:
        """Whether objects of the namespace are looked after; what has no namespace always is."""
        return not self.selector or not namespace or namespace in self._inside

    def take(self, manifest: Manifest, *, gone: bool) -> None:
        """Take one event of the watch: a namespace that loses the label is told like one that is deleted."""
        name = key_of(manifest).name
        if gone:
            self._leave(name)
        else:
            self._join(name)

    async def refresh(self, client: KubernetesClient) -> None:
        """List the namespaces, which decides what a watch may have missed.

        Raises:
            ApiError: the API server could not be asked.
        """
        if not self.selector:
            return
        listing = await client.list(NAMESPACE, "", label_selector=self.selector, metadata_only=True)
        now = {key_of(item).name for item in listing.items}
        for name in self._inside - now:
            self._leave(name)
        for name in now - self._inside:
            self._join(name)

    def read_all(self) -> None:
        """Take note that everything has just been listed."""
        self._joined.clear()
        self._news.clear()

    async def joined(self) -> frozenset[str]:
        """Wait for namespaces that have come and have not been listed yet."""
        await self._news.wait()
        self._news.clear()
        found = frozenset(self._joined & self._inside)
        self._joined.clear()
        return found

    def again(self, namespace: str) -> None:
        """Have a namespace listed that could not be."""
        self._joined.add(namespace)
        self._news.set()

    def _join(self, name: str) -> None:
        if name not in self._inside:
            _log.info("namespace %s is looked after now: it has the labels %s", name, self.selector)
            self._inside.add(name)
            self.again(name)

    def _leave(self, name: str) -> None:
        if name in self._inside:
            _log.info("namespace %s is not looked after any more", name)
            self._inside.discard(name)
            self._left(name)
