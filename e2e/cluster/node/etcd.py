"""etcd: which program to run, and with which arguments."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from e2e.cluster.node import gotools


def program() -> Path:
    """Return etcd's path: of `KUBEBUILDER_ASSETS` where set, else our own build, else on PATH.

    Debian's etcd 3.4 is the last choice, where there is no Go: with it, the API server cannot ask
    for the progress of a watch, answers lists from etcd instead of its cache, and logs that often.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and Path(assets, "etcd").exists():
        return Path(assets, "etcd")
    installed = shutil.which("etcd")
    if installed and gotools.missing(["etcd"]) and shutil.which("go") is None:
        return Path(installed)
    return gotools.ensure(["etcd"])["etcd"]


def arguments(data: Path, *, client_port: int, peer_port: int) -> list[str]:
    """Return the arguments of a lone member on loopback that keeps its data in `data`.

    It does not wait for the disk: a test cluster is never recovered from a power failure.
    """
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]
