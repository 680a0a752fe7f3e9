"""A watch on one object by the official client, with the time at which each change was seen."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import kubernetes.dynamic
import kubernetes.watch
import urllib3

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from e2e.harness.target import Target

#: The client's functions bear no types, though its package says so.
_CLIENT: Any = kubernetes
#: Kind, as kubectl takes it, to its API version and kind.
_KINDS = {
    "service": ("v1", "Service"),
    "configmap": ("v1", "ConfigMap"),
    "deployment": ("apps/v1", "Deployment"),
    "poddisruptionbudget": ("policy/v1", "PodDisruptionBudget"),
    "lease": ("coordination.k8s.io/v1", "Lease"),
}


class Watch:
    """Sees every change of one object from entering on; the state at entering is not a change."""

    def __init__(self, target: Target, namespace: str, kind: str, name: str, *, seconds: int = 60) -> None:
        """Refer to the object; nothing is asked for yet. The watch ends after so many seconds."""
        self._seconds = seconds
        client = _CLIENT.config.new_client_from_config(str(target.kubeconfig), context=target.context)
        api_version, api_kind = _KINDS[kind]
        self._resource = _CLIENT.dynamic.DynamicClient(client).resources.get(api_version=api_version, kind=api_kind)
        self._namespace = namespace
        self._name = name
        self._watch = _CLIENT.watch.Watch()
        self._seen: queue.Queue[tuple[float, str, dict[str, Any]]] = queue.Queue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        """Begin at the state that the object has now."""
        found = self._resource.get(name=self._name, namespace=self._namespace)
        self._version = found.metadata.resourceVersion
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the watch."""
        self._ended.set()
        self._watch.stop()
        self._thread.join(timeout=10)

    def seconds_from_broken_to(self, whole: Callable[[dict[str, Any]], bool], *, within: float) -> float:
        """Return the seconds between the first change that is not whole and the next one that is."""
        broken: float | None = None
        deadline = time.monotonic() + within
        while True:
            try:
                at, kind, found = self._seen.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                state = "was not broken" if broken is None else "was not restored"
                raise AssertionError(f"{self._name} {state} within {within:g} s") from None
            good = kind != "DELETED" and whole(found)
            if broken is None and not good:
                broken = at
            elif broken is not None and good:
                return round(at - broken, 3)

    def states(self) -> list[dict[str, Any]]:
        """Return every state that was seen since the last call."""
        found: list[dict[str, Any]] = []
        while not self._seen.empty():
            found.append(self._seen.get()[2])
        return found

    def _follow(self) -> None:
        # The client ends a stopped watch by closing its connection, which its own reader takes for a failure; cut in
        # the middle of a line, it hands an event of None to itself.
        try:
            self._read()
        except (urllib3.exceptions.ProtocolError, TypeError):
            if not self._ended.is_set():
                raise

    def _read(self) -> None:
        for event in self._resource.watch(
            namespace=self._namespace,
            field_selector=f"metadata.name={self._name}",
            resource_version=self._version,
            timeout=self._seconds,
            watcher=self._watch,
        ):
            self._seen.put((time.monotonic(), event["type"], event["raw_object"]))
