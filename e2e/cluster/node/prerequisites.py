"""What the node needs of its host, and how to get what is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from e2e.cluster.node.failure import ClusterError

#: Program to the Debian package that has it.
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "openssl": "openssl",
}

#: What building images needs besides.
IMAGE_PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}

_CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_CNI_PACKAGE = "containernetworking-plugins"


def cni_plugins() -> Path | None:
    """Return the folder of the standard CNI plug-ins; distributions differ in where it is."""
    for folder in _CNI_FOLDERS:
        if (folder / "bridge").exists():
            return folder
    return None


def missing_packages(programs: dict[str, str]) -> list[str]:
    """Return the Debian packages of those programs that are not on PATH, each once, sorted."""
    return sorted({package for program, package in programs.items() if shutil.which(program) is None})


def require(programs: dict[str, str], purpose: str) -> None:
    """Raise ClusterError that names every missing program and package; `purpose` completes "to"."""
    packages = missing_packages(programs)
    if programs is PACKAGES and cni_plugins() is None:
        packages.append(_CNI_PACKAGE)
    if packages:
        absent = sorted(program for program in programs if shutil.which(program) is None)
        if _CNI_PACKAGE in packages:
            absent.append("the CNI plug-ins")
        raise ClusterError(
            f"to {purpose}, this machine lacks {', '.join(absent)}; on Debian: "
            f"apt-get install -y --no-install-recommends {' '.join(packages)}"
        )


def require_root(purpose: str) -> None:
    """Raise ClusterError where this process is not root: namespaces and mounts need it."""
    if os.geteuid() != 0:
        raise ClusterError(
            f"to {purpose} one must be root (namespaces, mounts and control groups are made): "
            "run it with `sudo -E`, or install Docker and kind, which are used where they are there"
        )


def on_overlay(folder: Path, mounts: str) -> bool:
    """Whether a folder lies on an overlay, given the text of `/proc/self/mounts`.

    That is what the root of most containers is. An overlay cannot lie on another one: layers of
    images are copied there instead of stacked.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        _, where, file_system = line.split(" ")[:3]
        inside = str(folder) == where or str(folder).startswith(where.rstrip("/") + "/")
        # A later mount on the same place covers an earlier one.
        if inside and len(where) >= len(best):
            best, kind = where, file_system
    return kind == "overlay"


def snapshotter(folder: Path) -> str:
    """Return the snapshotter for a containerd that keeps its state in `folder`."""
    return "native" if on_overlay(folder, _mounts()) else "overlayfs"


def storage_driver(folder: Path) -> str:
    """Return the storage driver for a buildah that keeps its images in `folder`."""
    return "vfs" if on_overlay(folder, _mounts()) else "overlay"


def _mounts() -> str:
    return Path("/proc/self/mounts").read_text()
