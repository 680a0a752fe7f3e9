"""Where the test cluster keeps its files: built binaries, images, and the state of each node."""

from __future__ import annotations

import os
from pathlib import Path

#: The folder `e2e/cluster/` of the checkout.
CLUSTER_SOURCE = Path(__file__).resolve().parent.parent

#: The root of the checkout; the build context of the project's images.
REPOSITORY = CLUSTER_SOURCE.parent.parent


def cache_home() -> Path:
    """Return the user's cache folder for this project, `${XDG_CACHE_HOME:-~/.cache}/pillion`.

    It outlives checkouts and holds what is expensive to make and can be made again: binaries keyed
    by version, base images, and the state of running nodes.
    """
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification says that a relative path is to be ignored.
    base = Path(configured) if configured.startswith("/") else Path.home() / ".cache"
    return base / "pillion"


def binaries_home() -> Path:
    """Return the folder that holds one sub-folder of built Go programs for each tool version."""
    return cache_home() / "bin"


def node_home(name: str) -> Path:
    """Return the state folder of the node called `name`."""
    return cache_home() / "nodes" / name
