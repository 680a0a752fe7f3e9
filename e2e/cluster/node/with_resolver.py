"""Run a program with another `/etc/resolv.conf`, in the mount namespace that the caller made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main(resolver_settings: str, argv: list[str]) -> None:
    """Cover the resolver's settings and become the program."""
    # Where it is a link into a folder that is not there, there is nothing to mount over.
    target = Path("/etc/resolv.conf").resolve()
    subprocess.run(["mount", "--bind", resolver_settings, target], check=True)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
