"""The Python base image: pulled where a registry is reachable, else made from Debian packages."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node import files, paths, prerequisites, progress
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from e2e.cluster.node.buildah import Buildah

REFERENCE = "docker.io/library/python:3.11-slim-bookworm"

_SUITE = "bookworm"
_DEFAULT_MIRROR = "http://deb.debian.org/debian"
#: Debian 12's own Python is 3.11. `pip` and `venv` are apart from it there, not in Docker's image.
_PACKAGES = ("ca-certificates", "netbase", "tzdata", "python3", "python3-pip", "python3-venv")

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
    rootfs = _cached() or _make()
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


def _cached() -> Path | None:
    """Return the newest root file system made before; remove the file to have a newer one made."""
    found = sorted(_folder().glob(f"{_SUITE}-*.tar"))
    return found[-1] if found else None


def _make() -> Path:
    _folder().mkdir(parents=True, exist_ok=True)
    today = dt.datetime.now(tz=dt.UTC).date()
    archive = _folder() / f"{_SUITE}-{today.isoformat()}.tar"
    mirror = os.environ.get("DEBIAN_MIRROR", _DEFAULT_MIRROR)
    with (
        progress.step(f"make a Debian {_SUITE} root file system"),
        tempfile.TemporaryDirectory(dir=_folder()) as scratch,
    ):
        root = Path(scratch, "root")
        _run("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(root), mirror)
        for path in _REMOVED:
            target = root / path
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        for folder in ("var/log", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
            (root / folder).mkdir(parents=True)
        # Docker's image has these names in /usr/local/bin.
        for name, program in (("python", "python3"), ("python3", "python3"), ("pip", "pip3")):
            (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{program}")
        # Names of this machine are not the image's.
        for name in ("etc/hostname", "etc/resolv.conf"):
            (root / name).write_text("")
        partial = archive.with_suffix(".part")
        _run("tar", "--create", "--numeric-owner", "--one-file-system", "--exclude=./dev/*", "--exclude=./proc/*",
             "--exclude=./sys/*", f"--file={partial}", f"--directory={root}", ".")  # fmt: skip  # as one command line
        partial.rename(archive)
    return archive


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{command[0]} failed:\n" + "\n".join(done.stdout.splitlines()[-20:]))
