"""kopf, switched down to watching.

kopf lists and watches each kind, survives disconnects, and hands over raw events. Everything else of it is off: no
change handlers, so no finalizers and no annotations; no event posting; no scanning for new kinds; no peering; no
admission server. It runs in a thread and an event loop of its own: when it ends, it cancels every task of its loop,
and some errors of a watch end it altogether. Then it is started anew, and nothing else notices.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import kopf

from pillion_operator.state.kinds import LABELLED, NAMESPACE, selector_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion_operator.client.connection import Connection
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest

__all__ = ["LISTED", "Watcher", "watch_settings"]

#: The event type of an object that came with a list, not as a change.
LISTED: Final = "LISTED"

_log: Final = logging.getLogger(__name__)
_RESTART_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 5.0


class _NothingKept(kopf.DiffBaseStorage):
    """kopf compares each object with what it handled last; without change handlers there is nothing to compare."""

    def build(self, **_: object) -> Any:  # noqa: ANN401 - kopf's own type is private
        """Return an empty essence: the default one is a deep copy of every object that arrives."""
        return {}

    def fetch(self, **_: object) -> None:
        """Return nothing: nothing is stored."""

    def store(self, **_: object) -> None:
        """Store nothing."""


def watch_settings(namespace_selector: str = "") -> kopf.OperatorSettings:
    """Return kopf's settings with everything but watching off; Namespaces are watched by that selector."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NothingKept()
    # It would kill the process ten minutes after a restart of the watches.
    settings.process.ultimate_exiting_timeout = None
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 270
    settings.watching.connect_timeout = 10
    # Bookmarks come every minute; a stream that is silent for longer is dead, whatever TCP says.
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 0.5
    for kind in LABELLED:
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = selector_of(kind)
    if namespace_selector:
        settings.watching.label_selectors[NAMESPACE.group, NAMESPACE.version, NAMESPACE.plural] = namespace_selector
    return settings


class Watcher:
    """Runs kopf and hands each event to `deliver` in the loop that started the watcher."""

    def __init__(
        self,
        connection: Connection,
        kinds: Callable[[], Sequence[Kind]],
        namespaces: Sequence[str],
        deliver: Callable[[Kind, str, Manifest], None],
        namespace_selector: str = "",
    ) -> None:
        """Prepare; `namespaces` empty means the whole cluster. `deliver` gets kind, event type and object.

        `kinds` is asked at each start of the watches, and Namespaces are watched besides where there is a selector.
        """
        self._connection = connection
        self._kinds = kinds
        self._namespaces = tuple(namespaces)
        self._deliver = deliver
        self._namespace_selector = namespace_selector
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._inner: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._down_since: float | None = time.monotonic()
        self.restarts = 0

    @property
    def down_seconds(self) -> float:
        """For how long no kopf has been running."""
        return 0.0 if self._down_since is None else time.monotonic() - self._down_since

    def start(self) -> None:
        """Start watching."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._supervise, name="kopf", daemon=True)
        self._thread.start()

    def restart(self) -> None:
        """End the watches; they are started anew at once."""
        inner, stop = self._inner, self._stop
        if inner is not None and stop is not None and not inner.is_closed():
            inner.call_soon_threadsafe(stop.set)

    async def stop(self) -> None:
        """End the watches for good."""
        self._stopping = True
        self.restart()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _STOP_SECONDS)

    def _supervise(self) -> None:
        while not self._stopping:
            try:
                asyncio.run(self._run())
            except Exception as error:  # noqa: BLE001 - whatever ends kopf, it is started anew
                _log.warning("the watches ended: %s; starting them anew", str(error) or type(error).__name__)
            finally:
                self._inner, self._stop = None, None
                self._down_since = time.monotonic() if self._down_since is None else self._down_since
            if not self._stopping:
                self.restarts += 1
                time.sleep(_RESTART_SECONDS)

    async def _run(self) -> None:
        self._inner, self._stop = asyncio.get_running_loop(), asyncio.Event()
        started = asyncio.Event()
        marker = asyncio.create_task(self._mark_running(started))
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=watch_settings(self._namespace_selector),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
                ready_flag=started,
                identity=kopf.operator.__name__,  # type: ignore[arg-type]  # peering is off, so the name means nothing
            )
        finally:
            marker.cancel()

    async def _mark_running(self, started: asyncio.Event) -> None:
        await started.wait()
        self._down_since = None

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        connection = self._connection

        @kopf.on.login(registry=registry)
        async def login(**_: object) -> kopf.ConnectionInfo:
            return connection.login()

        for kind in (*self._kinds(), *((NAMESPACE,) if self._namespace_selector else ())):
            self._register(registry, kind)
        return registry

    def _register(self, registry: kopf.OperatorRegistry, kind: Kind) -> None:
        @kopf.on.event(kind.group, kind.version, kind.plural, id=f"{kind.plural}.{kind.group}", registry=registry)
        async def receive(event: Any, **_: object) -> None:  # noqa: ANN401 - kopf's own type is private
            self._loop.call_soon_threadsafe(self._deliver, kind, event["type"] or LISTED, event["object"])
