"""kubectl and helm as users run them, with the cluster's kubeconfig and nothing of the caller's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

Manifest = Mapping[str, Any]


class CommandError(AssertionError):
    """A command ended with an error; the text holds the command and what it printed."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and its exit status."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Command:
    """A program with fixed first arguments and an environment without proxies or a kubeconfig of the caller's."""

    program: Path
    options: tuple[str, ...]

    def run(self, *arguments: str, stdin: str | bytes | None = None, check: bool = True, timeout: float = 120) -> Done:
        """Run it to its end; raises CommandError where `check` and the exit status is not 0."""
        done = subprocess.run(
            [str(self.program), *self.options, *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env=_environment(),
            timeout=timeout,
            check=False,
        )
        result = Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if check and done.returncode != 0:
            shown = " ".join([self.program.name, *arguments])
            raise CommandError(f"{shown[:400]} ended with {result.status}:\n{result.stderr}\n{result.stdout[-2000:]}")
        return result

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it, to read what it prints while it runs."""
        command = [str(self.program), *self.options, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment(), text=True)


def _environment() -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment.pop("KUBECONFIG", None)
    return environment


@dataclass(frozen=True, slots=True)
class Kubectl(Command):
    """kubectl against the cluster under test."""

    def __call__(self, *arguments: str, stdin: str | bytes | None = None, timeout: float = 120) -> str:
        """Run kubectl and return what it printed."""
        return self.run(*arguments, stdin=stdin, timeout=timeout).stdout

    def json(self, *arguments: str) -> Any:  # noqa: ANN401  # an object of the API
        """Run kubectl with `-o json` and return the object."""
        return json.loads(self(*arguments, "--output=json"))

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """Return the object, or None where there is none."""
        scope = [f"--namespace={namespace}"] if namespace else []
        text = self("get", kind, name, *scope, "--ignore-not-found", "--output=json")
        found: dict[str, Any] | None = json.loads(text) if text.strip() else None
        return found

    def items(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Return the items of a list."""
        listed: list[dict[str, Any]] = self.json("get", kind, *arguments)["items"]
        return listed

    def apply(self, *manifests: Manifest, namespace: str) -> str:
        """Apply the manifests as one file and return what kubectl said of each."""
        text = yaml.safe_dump_all(manifests, sort_keys=False)
        return self("apply", f"--namespace={namespace}", "--filename=-", stdin=text)

    def patch(self, kind: str, name: str, namespace: str, change: Mapping[str, Any]) -> str:
        """Apply a JSON merge patch."""
        return self("patch", kind, name, f"--namespace={namespace}", "--type=merge", f"--patch={json.dumps(change)}")

    def raw(self, path: str) -> Any:  # noqa: ANN401  # whatever stands at the path
        """Return the JSON at a path of the API server."""
        return json.loads(self("get", "--raw", path))


@dataclass(frozen=True, slots=True)
class Helm(Command):
    """Helm against the cluster under test."""

    def __call__(self, *arguments: str, timeout: float = 300) -> str:
        """Run helm and return what it printed."""
        return self.run(*arguments, timeout=timeout).stdout


def kubectl_for(program: Path, kubeconfig: Path, context: str) -> Kubectl:
    """Return kubectl for one context of a kubeconfig."""
    return Kubectl(program, (f"--kubeconfig={kubeconfig}", f"--context={context}"))


def helm_for(program: Path, kubeconfig: Path, context: str) -> Helm:
    """Return helm for one context of a kubeconfig."""
    return Helm(program, (f"--kubeconfig={kubeconfig}", f"--kube-context={context}"))
