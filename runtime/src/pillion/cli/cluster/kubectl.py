"""The user's kubectl: one context, one namespace, and the few things that are asked of it.

kubectl is a program here and not a library: see ADR 18.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.cli.cluster.objects import objects_at, text_at
from pillion.cli.cluster.refusals import NO_KUBECTL, explained, said
from pillion.cli.failures import CLUSTER, CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.cli.cluster.objects import Object

__all__ = ["INFERENCE_SERVICES", "OWNER_LABEL", "Done", "Kubectl", "Listed", "available", "connect"]

INFERENCE_SERVICES: Final = "inferenceservices.serving.pillion.dev"
OWNER_LABEL: Final = "serving.pillion.dev/inferenceservice"
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SECONDS: Final = 60.0
_LISTED: Final = 8


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Listed:
    """Objects, and in words what of them may not be seen."""

    items: tuple[Object, ...]
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl for one context and namespace; both may come from the kubeconfig."""

    program: str
    options: tuple[str, ...]
    context: str
    namespace: str

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [self.program, *self.options, f"--namespace={self.namespace}", *arguments]

    def run(self, *arguments: str, stdin: str | None = None, seconds: float = _SECONDS) -> Done:
        """Run it to its end, whatever that is.

        Raises:
            CommandError: it did not end in time.
        """
        return self.run_unscoped(f"--namespace={self.namespace}", *arguments, stdin=stdin, seconds=seconds)

    def run_unscoped(self, *arguments: str, stdin: str | None = None, seconds: float = _SECONDS) -> Done:
        """The same without a namespace, for manifests that name their own.

        Raises:
            CommandError: it did not end in time.
        """
        command = [self.program, *self.options, *arguments]
        try:
            # Logs are whatever a container wrote, which need not be text.
            done = subprocess.run(  # noqa: S603 - the user's own kubectl, with arguments of ours
                command,
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CommandError(
                f"kubectl {' '.join(arguments[:3])} did not answer within {seconds:g} s (context {self.context})",
                code=CLUSTER,
            ) from None
        return Done(done.returncode, done.stdout, done.stderr)

    def inference_service(self, name: str) -> Object:
        """The InferenceService of that name.

        Raises:
            CommandError: there is none (those that are there are named), or it cannot be read.
        """
        done = self.run("get", INFERENCE_SERVICES, name, "--output=json", "--ignore-not-found")
        if done.code != 0:
            raise self.failure(done)
        if done.stdout.strip():
            found: Object = json.loads(done.stdout)
            return found
        there = [text_at(item, "metadata", "name") for item in self.list_of((INFERENCE_SERVICES,)).items]
        others = ", ".join(there[:_LISTED]) + (f" and {len(there) - _LISTED} more" if len(there) > _LISTED else "")
        raise CommandError(
            f"no InferenceService is called {name} in namespace {self.namespace} (context {self.context}): "
            + (f"those there: {others}" if there else "there are none there; name another namespace with -n"),
            code=CLUSTER,
        )

    def list_of(self, kinds: Sequence[str], selector: str = "") -> Listed:
        """The objects of these kinds that may be seen.

        Raises:
            CommandError: nothing could be asked for at all.
        """
        done = self.run("get", ",".join(kinds), f"--selector={selector}", "--output=json")
        try:
            items = objects_at(json.loads(done.stdout), "items")
        except ValueError:
            raise self.failure(done) from None
        refused = [line for line in done.stderr.splitlines() if line.strip()] if done.code != 0 else []
        return Listed(tuple(items), tuple(said(line) for line in refused if said(line)))

    def failure(self, done: Done, doing: str = "") -> CommandError:
        """Why a command failed, in words."""
        return self.failure_of(done.stderr, doing)

    def failure_of(self, stderr: str, doing: str = "") -> CommandError:
        """What kubectl said on standard error, in words."""
        return explained(stderr, context=self.context, doing=doing)


def available() -> bool:
    """Whether there is a kubectl that knows a current context."""
    program = shutil.which("kubectl")
    return program is not None and (_inside_a_pod() or _view(program, ()).code == 0)


def connect(context: str | None = None, namespace: str | None = None, kubeconfig: str | None = None) -> Kubectl:
    """kubectl for the context and namespace that are given, else for the current ones. Sends nothing to the cluster.

    Raises:
        CommandError: there is no kubectl, no such context, or none is chosen.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise CommandError(NO_KUBECTL, code=CLUSTER)
    options = tuple(
        f"--{name}={value}" for name, value in (("kubeconfig", kubeconfig), ("context", context)) if value is not None
    )
    # Asked first: without a context kubectl would call localhost:8080, where `pillion serve` may listen.
    done = _view(program, options)
    if done.code != 0:
        if options or not _inside_a_pod():
            raise explained(done.stderr)
        return Kubectl(program, (), "this pod's own", namespace or _pod_namespace())
    view = json.loads(done.stdout)
    contexts = objects_at(view, "contexts")
    found = contexts[0] if contexts else {}
    return Kubectl(
        program, options, text_at(found, "name"), namespace or text_at(found, "context", "namespace") or "default"
    )


def _inside_a_pod() -> bool:
    """Whether kubectl would use the pod's service account."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def _pod_namespace() -> str:
    try:
        return _POD_NAMESPACE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


def _view(program: str, options: tuple[str, ...]) -> Done:
    command = [program, *options, "config", "view", "--minify", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603 - as above
    return Done(done.returncode, done.stdout, done.stderr)
