"""Somebody who types commands with a kubeconfig and a kubectl."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.integration.server.process import environment
from tests.unit.cli.command import PILLION, pillion

if TYPE_CHECKING:
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

    def starts(self, *arguments: str) -> subprocess.Popen[str]:
        """Run ``pillion`` in the namespace, and go on while it runs."""
        return subprocess.Popen(
            [*PILLION, *arguments, "--namespace", self.namespace],
            cwd=self.folder,
            env=environment(**self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        """KUBECONFIG, kubectl on PATH, and a home of the user's own, where kubectl keeps its cache."""
        return {
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.kubectl.parent}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
        }
