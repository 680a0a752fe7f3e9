"""Writes about one namespace, as the API server took note of them: whatever else an operator has to do, it is aside."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from tests.integration.operator.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

#: The operator of the modules, under the chart's rights.
OPERATOR = "system:serviceaccount:pillion-system:pillion-operator"
_VERBS = {"create", "update", "patch", "delete"}
#: Where the last line of a log begins: a line has some kilobytes at most.
_TAIL = 1024 * 1024


class Writes:
    """What somebody wrote about the objects of a namespace since this was made, leases aside.

    Reads the new part of the audit log at each look; a request that failed is one as well.
    """

    def __init__(self, log: Path, namespace: str, user: str = OPERATOR) -> None:
        self._log = log
        self._namespace = namespace
        self._user = user
        self._found: list[str] = []
        self._at = _last_line(log)

    def all(self) -> list[str]:
        """Verb and resource of each, in their order."""
        with self._log.open("rb") as file:
            file.seek(self._at)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._at += len(whole)
        for text in whole.splitlines():
            if self._user.encode() in text and self._namespace.encode() in text:
                line = json.loads(text)
                about = line.get("objectRef", {})
                ours = (line["user"]["username"], about.get("namespace")) == (self._user, self._namespace)
                if ours and line["verb"] in _VERBS and about["resource"] != "leases":
                    self._found.append(f"{line['verb']} {about['resource']}")
        return self._found

    def at_rest(self, seconds: float = 4.0) -> list[str]:
        """All of them, once there was none for so long: who writes again and again never comes to that."""
        number, since = len(self.all()), time.monotonic()

        def look() -> bool:
            nonlocal number, since
            if len(self.all()) != number:
                number, since = len(self._found), time.monotonic()
            return time.monotonic() - since >= seconds

        eventually(look, pause=0.2)
        return self.all()


def _last_line(log: Path) -> int:
    with log.open("rb") as file:
        begin = max(0, file.seek(0, os.SEEK_END) - _TAIL)
        file.seek(begin)
        return begin + file.read().rfind(b"\n") + 1
