"""SIGKILL for a process of a pod, as from the kernel: deleting a pod, even by force, sends SIGTERM first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from e2e.harness import manifests
from e2e.harness.release import ensure_namespace

if TYPE_CHECKING:
    from e2e.harness.target import Target

#: Where a pod may see the node's processes, which the restricted standard forbids.
_PRIVILEGED = "pillion-e2e-node"
#: Process 1 of a container cannot be killed from inside of it.
_KILL = """
killed=0
for process in /proc/[0-9]*; do
  if grep -qs "$1" "$process/cgroup" && grep -qs "$2" "$process/cmdline"; then
    kill -9 "${process#/proc/}" && killed=$((killed + 1))
  fi
done
echo "$killed"
"""


class Killer:
    """A pod on the node that sees its processes; made ahead, so that a kill takes no time."""

    def __init__(self, target: Target) -> None:
        """Start the pod."""
        self._target = target
        ensure_namespace(target, _PRIVILEGED, standard="privileged")
        pod: dict[str, Any] = manifests.pod("killer", target.image("client"))
        pod["spec"]["hostPID"] = True
        pod["spec"]["securityContext"] = {"runAsUser": 0}
        pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        target.kubectl.apply(pod, namespace=_PRIVILEGED)
        target.kubectl("wait", "pod/killer", f"--namespace={_PRIVILEGED}", "--for=condition=Ready", "--timeout=60s")

    def kill(self, pod_uid: str, program: str) -> int:
        """Kill the pod's processes that have `program` in their command line, and return how many there were."""
        done = self._target.kubectl(
            "exec", f"--namespace={_PRIVILEGED}", "killer", "--", "sh", "-c", _KILL, "sh", f"pod{pod_uid}", program
        )
        return int(done)

    def remove(self) -> None:
        """Remove the pod and its namespace."""
        self._target.kubectl("delete", "namespace", _PRIVILEGED, "--wait=false")
