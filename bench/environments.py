"""Environments of the peers: one virtual environment per hashed lock file, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["cache_folder", "python_of"]

PEERS = Path(__file__).parent / "peers"
_INTERPRETERS = {
    # Triton's Python backend brings a libpython 3.11 of its own and takes the standard library from here; that of
    # 3.11.7 and later asks for more than it has. Debian 12's is older.
    "pytriton": "/usr/bin/python3.11",
}


def cache_folder() -> Path:
    """The project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pillion"


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, made from its lock file on first use."""
    lock = PEERS / peer / "requirements.lock"
    interpreter = _INTERPRETERS.get(peer, sys.executable)
    if not Path(interpreter).exists():
        raise RuntimeError(
            f"{peer} needs {interpreter}: apt-get install python3.11, or leave it out with --contestants"
        )
    version = sys.version if interpreter == sys.executable else interpreter
    digest = hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()[:12]
    home = cache_folder() / "envs" / f"bench-{peer}-{digest}"
    python = home / "bin" / "python"
    if (home / ".ready").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", interpreter, home], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock], check=True)
    (home / ".ready").touch()
    return python
