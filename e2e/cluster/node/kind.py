"""The cluster made by kind, where a Docker engine and the `kind` command answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node import gotools, images, paths
from e2e.cluster.node.failure import ClusterError
from e2e.cluster.node.layout import validate_name

if TYPE_CHECKING:
    from collections.abc import Sequence

_READY_WITHIN = "180s"


def available() -> bool:
    """Whether `kind` is installed and `docker` reaches an engine that answers."""
    if shutil.which("kind") is None or shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


class Kind:
    """A cluster of kind with the same images as our own node."""

    def __init__(self, name: str) -> None:
        """Refer to the cluster called `name`, which may not be there yet."""
        self.name = validate_name(name)
        self._cluster = f"pillion-{name}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, apart from the user's own."""
        return paths.cache_home() / "kind" / f"{self.name}.kubeconfig"

    @property
    def context(self) -> str:
        """The kubeconfig's only context, as kind names it."""
        return f"kind-{self._cluster}"

    @property
    def running(self) -> bool:
        """Whether kind lists the cluster."""
        return self._cluster in _run("kind", "get", "clusters").split()

    def up(self, *, keep_failed: bool = False) -> None:
        """Create the cluster, and load and apply metrics-server; kind brings DNS and storage."""
        if self.running:
            return
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        # kind's own default fits its release; not every version of Kubernetes has an image.
        chosen = os.environ.get("E2E_KIND_IMAGE")
        _run(
            "kind", "create", "cluster", f"--name={self._cluster}",
            f"--kubeconfig={self.kubeconfig}", f"--wait={_READY_WITHIN}",
            *(["--retain"] if keep_failed else []),
            *([f"--image={chosen}"] if chosen else []),
        )  # fmt: skip  # one command line
        self.load("metrics-server")
        manifest = paths.CLUSTER_SOURCE / "manifests" / "metrics-server.yaml"
        # kind's kubelet signs its serving certificate itself.
        text = manifest.read_text().replace(
            "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            "--kubelet-insecure-tls",
        )
        self._kubectl("apply", "--filename=-", stdin=text)
        self._kubectl(
            "--namespace=kube-system", "rollout", "status", "deployment/metrics-server", f"--timeout={_READY_WITHIN}"
        )

    def down(self) -> None:
        """Delete the cluster and its kubeconfig."""
        _run("kind", "delete", "cluster", f"--name={self._cluster}", f"--kubeconfig={self.kubeconfig}")
        self.kubeconfig.unlink(missing_ok=True)
        if self.running:
            raise ClusterError(f"kind still lists {self._cluster}; see `docker ps`")

    def status(self) -> str:
        """Return the nodes and pods of the cluster."""
        if not self.running:
            return f"there is no kind cluster {self._cluster}; start it with `make cluster-up`"
        return "\n".join(
            [
                f"kind cluster {self._cluster}",
                f"export KUBECONFIG={self.kubeconfig}",
                self._kubectl("get", "nodes", "--output=wide").rstrip(),
                self._kubectl("get", "pods", "--all-namespaces").rstrip(),
            ]
        )

    def load(self, image: str, reference: str | None = None) -> str:
        """Build an image of the checkout by Docker and load it into the cluster's node."""
        wanted = images.image(image)
        tag = reference or wanted.reference
        with tempfile.TemporaryDirectory() as scratch:
            tools = Path(scratch, "tools")
            tools.mkdir()
            for program, path in gotools.ensure(wanted.programs).items():
                shutil.copy2(path, tools / program)
            secrets = images.build_secrets(Path(scratch))
            _run(
                "docker", "buildx", "build", "--load", f"--file={wanted.dockerfile}", f"--tag={tag}",
                *(f"--build-arg={key}={value}" for key, value in wanted.arguments.items()),
                *(f"--secret=id={name},src={path}" for name, path in secrets.items()),
                *([f"--build-context=tools={tools}"] if wanted.context else []),
                str(wanted.context or tools),
            )  # fmt: skip  # one command line
        _run("kind", "load", "docker-image", f"--name={self._cluster}", tag)
        return tag

    def enter(self, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Return the command that runs `argv` in the network of kind's node; it needs root, and has no cluster DNS."""
        container = f"{self._cluster}-control-plane"
        state = json.loads(_run("docker", "inspect", container))[0]["State"]
        command = ["nsenter", f"--target={state['Pid']}", "--net", "--", *argv]
        return command, {"KUBECONFIG": str(self.kubeconfig)}

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        kubectl = str(gotools.ensure(["kubectl"])["kubectl"])
        return _run(kubectl, f"--kubeconfig={self.kubeconfig}", *arguments, stdin=stdin)


def _run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed:\n{done.stderr.strip()[-3000:]}")
    return done.stdout
