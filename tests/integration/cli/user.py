"""Somebody who types commands with a kubeconfig and a kubectl."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.unit.cli.command import pillion

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

__all__ = ["User"]


@dataclass(frozen=True, slots=True)
class User:
    """What the user has: a kubeconfig, a kubectl, and a namespace to work in."""

    kubeconfig: Path
    kubectl: Path
    namespace: str
    folder: Path

    def types(self, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``pillion`` in the namespace."""
        return pillion(
            *arguments, "--namespace", self.namespace, stdin=stdin, cwd=self.folder, env=self.environment | env
        )

    @property
    def environment(self) -> dict[str, str]:
        """KUBECONFIG, and kubectl on PATH."""
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.kubectl.parent}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
        }
