"""buildah with storage of its own, so that it neither sees nor changes other images of the machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Protocol

from e2e.cluster.node import emulation, paths, prerequisites
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Run(Protocol):
    """Runs a command in a container and returns what it printed."""

    def __call__(self, *command: str, user: str, variables: Mapping[str, str]) -> str:
        """Raises ClusterError where the command fails."""


_GZIP = ("--compression-format=gzip",)
_QUICK = ("--compression-format=zstd", "--compression-level=1")


class Buildah:
    """Builds images without a daemon, as root, also inside a container."""

    def __init__(self, *, arm64: bool = False) -> None:
        """Keep images and layers in the user's cache; those of arm64 apart, since the names are the same."""
        storage = paths.cache_home() / ("buildah-arm64" if arm64 else "buildah")
        command = (
            "buildah",
            f"--root={storage / 'root'}",
            f"--runroot={storage / 'run'}",
            f"--storage-driver={prerequisites.storage_driver(storage)}",
        )
        self._command = tuple(emulation.command(*command)) if arm64 else command
        self._platform = ("--platform=linux/arm64",) if arm64 else ()
        self.arm64 = arm64

    def has(self, reference: str) -> bool:
        """Whether the storage holds an image of that name."""
        return self._run("inspect", "--type=image", reference, check=False).returncode == 0

    def pull(self, reference: str) -> bool:
        """Pull an image; return whether a registry that has it was reachable."""
        return self._run("pull", "--quiet", *self._platform, reference, check=False).returncode == 0

    def build(
        self,
        reference: str,
        dockerfile: Path,
        context: Path,
        *,
        arguments: Mapping[str, str],
        named_contexts: Mapping[str, Path],
        secrets: Mapping[str, Path],
    ) -> str:
        """Build an image, reusing unchanged layers, and return its identity in hexadecimal digits."""
        options = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        options += [f"--build-context={name}={path}" for name, path in named_contexts.items()]
        options += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        done = self._run(
            "build", "--layers", "--quiet", "--pull-never", f"--file={dockerfile}", f"--tag={reference}",
            *self._platform, *options, str(context),
        )  # fmt: skip  # one line for what is fixed, one for what is given
        return done.stdout.split()[-1]

    def save(self, reference: str, archive: Path, *, gzip: bool = False) -> None:
        """Write an image as an OCI archive: as registries mostly keep them, or as it costs least to write and read."""
        partial = archive.with_suffix(".part")
        partial.unlink(missing_ok=True)
        self._run(
            "push", "--quiet", *(_GZIP if gzip else _QUICK),
            reference, f"oci-archive:{partial}:{reference}",
        )  # fmt: skip  # options, then from where to where
        partial.rename(archive)

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[Run]:
        """Make a container of an image, such as `oci-archive:PATH`; what it gives runs commands in it."""
        name = self._run("from", "--quiet", image).stdout.strip()

        def run(*command: str, user: str, variables: Mapping[str, str]) -> str:
            options = [f"--env={key}={value}" for key, value in variables.items()]
            return self._run("run", f"--user={user}", *options, name, "--", *command).stdout

        try:
            yield run
        finally:
            self._run("rm", name)

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._command, *arguments],
            # Its other isolation modes need more privileges than a container has.
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            output = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
            raise ClusterError(f"buildah {arguments[0]} failed:\n{output}")
        return done
