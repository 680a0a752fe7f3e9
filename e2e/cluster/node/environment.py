"""The environment of the programs that talk to a cluster of this machine."""

from __future__ import annotations

import os


def without_proxies() -> dict[str, str]:
    """Return this process's environment without proxies: what is asked for is on this machine."""
    return {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
