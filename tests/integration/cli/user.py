"""Somebody who types commands with a kubeconfig and a kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.server.process import environment
from tests.unit.cli.command import PILLION, pillion

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["User"]


@dataclass(frozen=True, slots=True)
class User:
    """What the user has: a kubeconfig, a kubectl, and a namespace to work in."""

    kubeconfig: Path
    kubectl: Path
    namespace: str
    folder: Path
    further: Mapping[str, str] = field(default_factory=dict)

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

    def forwarding_to(self, port: int, log: Path) -> User:
        """The user with a kubectl whose port-forwards lead to that port of this machine, and are written to the log."""
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        stand_in = tools / "kubectl"
        source = Path(__file__).with_name("forwarding_kubectl.py").read_text().partition("\n")[2]
        stand_in.write_text(f"#!{sys.executable}\n{source}")
        stand_in.chmod(0o755)
        told = {"FORWARD_TO": str(port), "FORWARD_LOG": str(log), "REAL_KUBECTL": str(self.kubectl)}
        return replace(self, kubectl=stand_in, further=told)

    @property
    def environment(self) -> dict[str, str]:
        """KUBECONFIG, kubectl on PATH, and a home of the user's own, where kubectl keeps its cache."""
        return {
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.kubectl.parent}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
            **self.further,
        }
