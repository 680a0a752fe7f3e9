"""A volume claim of the cluster's default class, and files on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.harness import manifests

if TYPE_CHECKING:
    from e2e.harness.stage import Stage


class Volume:
    """A claim that any number of pods of the node may mount."""

    def __init__(self, stage: Stage, claim: str) -> None:
        """Make the claim."""
        self._stage = stage
        self._claim = claim
        stage.apply(manifests.claim(claim))

    def write(self, path: str, content: bytes) -> None:
        """Write a file by a pod of its own, which is gone afterwards."""
        kubectl, scope = self._stage.target.kubectl, f"--namespace={self._stage.namespace}"
        self._stage.apply(manifests.pod("writer", self._stage.target.image("client"), claims={self._claim: "/volume"}))
        kubectl("wait", "pod/writer", scope, "--for=condition=Ready", "--timeout=60s")
        script = f'mkdir -p "$(dirname /volume/{path})" && cat > /volume/{path}'
        kubectl("exec", "--stdin", scope, "writer", "--", "sh", "-eu", "-c", script, stdin=content)
        kubectl("delete", "pod/writer", scope)
