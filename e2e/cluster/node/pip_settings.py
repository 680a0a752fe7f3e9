"""How this machine's pip reaches its index, handed to image builds and kept out of the images.

A Dockerfile takes it by `RUN --mount=type=secret,id=pip,target=/etc/pip.conf`, together with a
bundle of certificates by `--mount=type=secret,id=ca,target=/run/secrets/ca`.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

#: Where the Dockerfiles mount the bundle; the configuration names it.
CA_IN_BUILD = "/run/secrets/ca"

# Only what says how to reach an index; folders of this machine mean nothing in a build.
_REACH = {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries"}


def pip_configuration(listing: str) -> str:
    """Return a pip.conf for builds from the output of `pip config list`.

    A later line wins over an earlier one, as it does in pip: the environment comes last.
    """
    settings: dict[str, str] = {}
    for line in listing.splitlines():
        name, separator, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if separator and section in {"global", "install", "wheel", ":env:"} and key in _REACH:
            # pip prints values as Python literals; a list's line breaks are allowed in the file.
            text = value.strip().strip("'\"").replace("\\n", "\n    ")
            settings["timeout" if key == "default-timeout" else key] = text
    lines = [f"{key} = {value}" for key, value in sorted(settings.items())]
    return "\n".join(["[global]", f"cert = {CA_IN_BUILD}", *lines, ""])


def ca_bundle(listing: str) -> Path | None:
    """Return the bundle of certificates that pip uses here, or else the system's."""
    for line in reversed(listing.splitlines()):
        name, _, value = line.partition("=")
        path = Path(value.strip().strip("'\""))
        if name.rpartition(".")[2] == "cert" and path.is_file():
            return path
    system = ssl.get_default_verify_paths().cafile
    return Path(system) if system else None


def listing() -> str:
    """Return the output of `pip config list`; empty where this Python has no pip."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
