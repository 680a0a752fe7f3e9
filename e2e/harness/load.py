"""Load from inside the cluster: an open-loop generator in a pod, and what it counted."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.harness import manifests
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from e2e.harness.commands import Kubectl


@dataclass(frozen=True, slots=True)
class Result:
    """What the generator printed."""

    requests: int
    failed: int
    failures: dict[str, int]
    examples: list[dict[str, Any]]
    #: TLS handshakes by the serial number of the certificate that the server showed.
    certificates: dict[str, int]
    latency: dict[str, float]
    rate: float
    new_connections: int
    #: How many of those that succeeded by the name of the answer that was looked for; "" for any other.
    answers: dict[str, int]

    def figures(self) -> dict[str, object]:
        """Return what a report keeps."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            "rate": self.rate,
            "new_connections": self.new_connections,
            "latency_ms": self.latency,
        }


class Load:
    """One run of the generator, in a pod of its own."""

    def __init__(self, kubectl: Kubectl, namespace: str, name: str, *, rate: float) -> None:
        """Refer to the pod called `name`, which sends `rate` requests a second."""
        self._kubectl = kubectl
        self._namespace = namespace
        self._name = name
        self._rate = rate
        self._started = math.inf

    def start(self, image: str, arguments: Sequence[str], config_maps: Mapping[str, str]) -> None:
        """Start the pod and return once requests are on their way; `arguments` are loadgen's."""
        paced = [*arguments, f"--rate={self._rate:g}"]
        made = manifests.pod(self._name, image, ["loadgen"], arguments=paced, config_maps=config_maps)
        self._kubectl.apply(made, namespace=self._namespace)
        eventually(self._phase, lambda phase: phase != "Pending", within=60, what=f"pod {self._name} has started")
        self._started = time.monotonic()

    def finish(self, *, least: int, within: float) -> Result:
        """Let it send `least` requests, end it, and return what it counted."""
        # Counted from when the pod was seen to run, which is after its first request.
        sent_by = self._started + least / self._rate
        eventually(lambda: time.monotonic() > sent_by, within=within, what=f"{least} requests were sent")
        # The generator is process 1 of its container and ends its schedule on SIGINT.
        self._kubectl.run("exec", f"--namespace={self._namespace}", self._name, "--", "sh", "-c", "kill -INT 1")
        return self.result(within=60)

    def result(self, *, within: float) -> Result:
        """Wait until the generator has ended by itself and return what it counted."""
        eventually(
            self._phase, lambda phase: phase in {"Succeeded", "Failed"}, within=within, what=f"{self._name} has ended"
        )
        text = self._kubectl("logs", f"--namespace={self._namespace}", self._name)
        try:
            printed = json.loads(text.splitlines()[-1])
        except (IndexError, ValueError) as error:
            raise AssertionError(f"the load generator printed no result: {text[-2000:]}") from error
        # The next run in this namespace may have the same name.
        self._kubectl("delete", "pod", self._name, f"--namespace={self._namespace}")
        return Result(
            requests=printed["requests"],
            failed=printed["failed"],
            failures=printed["failures"],
            examples=printed["examples"],
            certificates=printed["certificates"],
            latency=printed["latencyMs"],
            rate=printed["rate"],
            new_connections=printed["newConnections"],
            answers=printed["answers"],
        )

    def _phase(self) -> str:
        found = self._kubectl.get("pod", self._name, self._namespace)
        return str((found or {}).get("status", {}).get("phase", "gone"))
