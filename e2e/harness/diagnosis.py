"""What the cluster says when a scenario fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.harness.release import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.harness.target import Target

_TAIL = 60


def diagnosis(target: Target, namespaces: Sequence[str]) -> str:
    """Return pods, InferenceServices, events and logs of the operator and of the namespaces."""
    parts = [_say(target, "get", "pods", "--all-namespaces", "--output=wide")]
    for namespace in namespaces:
        scope = f"--namespace={namespace}"
        parts.append(_say(target, "get", "pisvc", "--output=yaml", "--show-managed-fields=false", scope))
        parts.append(_say(target, "get", "events", "--sort-by=.lastTimestamp", scope))
        parts.extend(_logs(target, namespace))
    parts.extend(_logs(target, NAMESPACE))
    return "\n".join(parts)


def _logs(target: Target, namespace: str) -> list[str]:
    scope = f"--namespace={namespace}"
    pods = target.kubectl.run("get", "pods", "--output=name", scope, check=False).stdout.split()
    return [_say(target, "logs", pod, "--all-containers", "--prefix", f"--tail={_TAIL}", scope) for pod in pods]


def _say(target: Target, *arguments: str) -> str:
    done = target.kubectl.run(*arguments, check=False)
    return f"$ kubectl {' '.join(arguments)}\n{done.stdout[-12000:]}{done.stderr}"
