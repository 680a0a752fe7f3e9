"""Public clients, each in an environment of its own: their pins (protobuf above all) exclude ours.

An environment is made on demand from ``clients/<name>/requirements.lock``, by hash, in the user's cache folder. Its
folder is named after a digest of the lock, so a new lock is a new environment and an old checkout keeps its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["environment", "environment_of"]

CLIENTS = Path(__file__).parent / "clients"


def environment(name: str) -> Path:
    """The Python interpreter that has the client ``name`` installed; made now if it is not there yet.

    Raises:
        subprocess.CalledProcessError: the installer failed; what it said is on standard error.
    """
    return environment_of(name, CLIENTS / name / "requirements.lock")


def environment_of(name: str, lock: Path, *, compiled: bool = False) -> Path:
    """The same for any lock; ``compiled`` for packages that are so large that compiling them at each start shows."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pillion" / "clients"
    folder = cache / f"{name}-py{version}-{digest}"
    python = folder / "bin" / "python"
    complete = folder / ".complete"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{folder.name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            uv = Path(sys.executable).with_name("uv")
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
            install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python]
            how = ["--require-hashes", *(["--compile-bytecode"] if compiled else [])]
            subprocess.run([*install, *how, "--requirement", lock], check=True)
            complete.touch()
    return python
