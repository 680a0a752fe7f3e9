"""The Python base image: pulled where a registry is reachable, else made from Debian packages."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node import emulation, files, paths, prerequisites, progress
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from e2e.cluster.node.buildah import Buildah

REFERENCE = "docker.io/library/python:3.11-slim-bookworm"

_SUITE = "bookworm"
_DEFAULT_MIRROR = "http://deb.debian.org/debian"
#: Debian 12's own Python is 3.11. `pip` and `venv` are apart from it there, not in Docker's image.
_PACKAGES = ("ca-certificates", "netbase", "tzdata", "python3", "python3-pip", "python3-venv")

# debootstrap's second half, which runs programs of the new system.
_SECOND_STAGE = ("/debootstrap/debootstrap", "--second-stage")

# What an image does not need: package lists, documentation and translations.
_REMOVED = (
    "var/lib/apt/lists", "var/cache/apt", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale",
    "usr/share/info", "usr/lib/python3.11/EXTERNALLY-MANAGED",
)  # fmt: skip  # a list to be read as one


def ensure(builder: Buildah) -> None:
    """Have the base image in the builder's storage.

    The pulled and the made one differ in where Python lies (`/usr/local/bin`, `/usr/bin`): images
    built on it use the names on PATH and virtual environments only.
    """
    if builder.has(REFERENCE):
        return
    if builder.pull(REFERENCE):
        progress.say(f"pulled {REFERENCE}")
        return
    prerequisites.require({"debootstrap": "debootstrap"}, f"make {REFERENCE}, as no image registry is reachable")
    prerequisites.require_root("make the base image")
    suite = f"{_SUITE}-arm64" if builder.arm64 else _SUITE
    rootfs = _cached(suite) or _make(suite, arm64=builder.arm64)
    with progress.step(f"build image {REFERENCE}"), tempfile.TemporaryDirectory() as context:
        files.link_or_copy(rootfs, Path(context, "rootfs.tar"))
        builder.build(
            REFERENCE,
            paths.CLUSTER_SOURCE / "images" / "base" / "Dockerfile",
            Path(context),
            arguments={},
            named_contexts={},
            secrets={},
        )


def _folder() -> Path:
    return paths.cache_home() / "base"


def _cached(name: str) -> Path | None:
    """Return the newest root file system made before; remove the file to have a newer one made."""
    found = sorted(_folder().glob(f"{name}-{'[0-9]' * 4}-*.tar"))
    return found[-1] if found else None


def _make(name: str, *, arm64: bool) -> Path:
    _folder().mkdir(parents=True, exist_ok=True)
    today = dt.datetime.now(tz=dt.UTC).date()
    archive = _folder() / f"{name}-{today.isoformat()}.tar"
    mirror = os.environ.get("DEBIAN_MIRROR", _DEFAULT_MIRROR)
    with (
        progress.step(f"make a Debian {name} root file system"),
        tempfile.TemporaryDirectory(dir=_folder()) as scratch,
    ):
        root = Path(scratch, "root")
        options = ["--variant=minbase", f"--include={','.join(_PACKAGES)}"]
        if arm64:
            _run("debootstrap", "--arch=arm64", "--foreign", *options, _SUITE, str(root), mirror)
            # What it calls lxc is a namespace of users: the devices are there already, and none can be made.
            variables = ("container=lxc", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
            _run(*emulation.command("chroot", str(root), "env", *variables, *_SECOND_STAGE))
        else:
            _run("debootstrap", *options, _SUITE, str(root), mirror)
        for path in _REMOVED:
            target = root / path
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        for folder in ("var/log", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
            (root / folder).mkdir(parents=True)
        # Docker's image has these names in /usr/local/bin.
        for link, program in (("python", "python3"), ("python3", "python3"), ("pip", "pip3")):
            (root / "usr/local/bin" / link).symlink_to(f"/usr/bin/{program}")
        # Names of this machine are not the image's.
        for file in ("etc/hostname", "etc/resolv.conf"):
            (root / file).write_text("")
        partial = archive.with_suffix(".part")
        _run("tar", "--create", "--numeric-owner", "--one-file-system", "--exclude=./dev/*", "--exclude=./proc/*",
             "--exclude=./sys/*", f"--file={partial}", f"--directory={root}", ".")  # fmt: skip  # as one command line
        partial.rename(archive)
    return archive


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{command[0]} failed:\n" + "\n".join(done.stdout.splitlines()[-20:]))
