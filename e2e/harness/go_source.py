"""Other projects' released files, read where they lie: from their Go modules, by checksum, in the user's cache."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

from e2e.cluster.node import lock, paths

__all__ = ["folder_of"]


@functools.cache
def folder_of(name: str, module: str, checksum: str) -> Path:
    """Return the folder with a module's files, downloaded on first use; nothing of it is in this repository.

    Args:
        name: names the folder in the cache.
        module: the module and its version, such as `example.com/mod@v1.2.3`.
        checksum: what `go.sum` would say of it.
    """
    cache = paths.cache_home() / f"go-{name}"
    cache.mkdir(parents=True, exist_ok=True)
    # The download is not part of any build: its own cache, and no module around it.
    environment = {
        **os.environ,
        "GOMODCACHE": str(cache),
        "GOFLAGS": "-modcacherw",
        "GOWORK": "off",
        "GO111MODULE": "on",
    }
    with lock.exclusive(cache / ".lock", f"another download of {module}"):
        done = subprocess.run(
            ["go", "mod", "download", "-json", module], cwd=cache, env=environment, capture_output=True, text=True,
            timeout=180, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"{module} cannot be downloaded: {done.stdout}{done.stderr}"
    told = json.loads(done.stdout)
    assert told["Sum"] == checksum, f"{module} is not what it was: {told['Sum']}"
    return Path(told["Dir"])
