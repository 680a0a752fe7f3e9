"""A watch on one object by kubectl, with the time at which each change was seen."""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from e2e.harness.target import Target


class Watch:
    """Sees every change of one object from entering on; the state at entering is not a change."""

    def __init__(self, target: Target, namespace: str, kind: str, name: str, *, seconds: int = 60) -> None:
        """Refer to the object; nothing is asked for yet. The watch ends after so many seconds."""
        self._name = name
        self._kubectl = target.kubectl
        self._command = (
            "get", kind, name, f"--namespace={namespace}", "--watch", "--output-watch-events", "--output=json",
            f"--request-timeout={seconds}s",
        )  # fmt: skip
        self._seen: queue.Queue[tuple[float, str, dict[str, Any]]] = queue.Queue()

    def __enter__(self) -> Self:
        """Begin at the state that the object has now: it is what kubectl prints first, and watches from."""
        self._process = self._kubectl.start(*self._command)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        self._seen.get(timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the watch."""
        self._process.kill()
        self._process.wait()
        self._thread.join(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()

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
        assert self._process.stdout is not None  # it was asked for
        for line in self._process.stdout:
            event = json.loads(line)
            self._seen.put((time.monotonic(), event["type"], event["object"]))
