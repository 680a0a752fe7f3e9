"""A folder of the node's disk as a volume claim; it is written and removed by a pod in a namespace that may do so."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from e2e.harness import manifests
from e2e.harness.release import ensure_namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.harness.target import Target

#: Where a pod may mount the node's disk, which the restricted standard forbids.
_PRIVILEGED = "pillion-e2e-node"
_ROOT = "/var/tmp/pillion-e2e"


class NodeVolume:
    """A claim in a namespace, bound to a folder of the node."""

    def __init__(self, target: Target, namespace: str, claim: str) -> None:
        """Refer to the claim; its folder is named after the namespace."""
        self._target = target
        self._namespace = namespace
        self._claim = claim
        self._volume = f"{namespace}-{claim}"

    def create(self, content: Mapping[str, bytes]) -> None:
        """Write files into the folder and make volume and claim."""
        self._at_node(
            *(
                f"mkdir -p $(dirname /node/{self._volume}/{path}) && base64 -d > /node/{self._volume}/{path} <<'END'\n"
                f"{base64.encodebytes(data).decode()}END\n"
                for path, data in content.items()
            ),
            f"chmod -R a+rX /node/{self._volume}",
        )
        self._target.kubectl.apply(
            *manifests.host_path_claim(self._claim, self._volume, f"{_ROOT}/{self._volume}"), namespace=self._namespace
        )

    def remove(self) -> None:
        """Remove the volume and its folder; the claim goes with its namespace."""
        self._target.kubectl("delete", "persistentvolume", self._volume, "--wait=false")
        self._at_node(f"rm -rf /node/{self._volume}")

    def _at_node(self, *commands: str) -> None:
        ensure_namespace(self._target, _PRIVILEGED, standard="privileged")
        kubectl, scope = self._target.kubectl, f"--namespace={_PRIVILEGED}"
        pod: dict[str, Any] = manifests.pod("node", self._target.image("client"))
        pod["spec"]["securityContext"] = {"runAsUser": 0}
        pod["spec"]["containers"][0]["securityContext"] = {}
        pod["spec"]["volumes"].append({"name": "node", "hostPath": {"path": _ROOT, "type": "DirectoryOrCreate"}})
        pod["spec"]["containers"][0]["volumeMounts"].append({"name": "node", "mountPath": "/node"})
        kubectl.apply(pod, namespace=_PRIVILEGED)
        kubectl("wait", "pod/node", scope, "--for=condition=Ready", "--timeout=60s")
        kubectl("exec", "--stdin", scope, "node", "--", "sh", "-eu", stdin="\n".join(commands))
        kubectl("delete", "pod/node", scope)
