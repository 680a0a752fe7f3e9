"""Free ports on the loopback interface."""

from __future__ import annotations

import random
import socket

_CANDIDATES = range(11_000, 20_000)
"""Below those that Linux gives to whoever asks for any port, connections of clients included: nobody else is given one
of these between the look here and the start of who listens on it. Above those of Kubernetes' own components."""


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports that were free on 127.0.0.1 a moment ago."""
    found: list[int] = []
    for port in random.sample(_CANDIDATES, len(_CANDIDATES)):
        if len(found) == count:
            return found
        with socket.socket() as looking:
            try:
                looking.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    raise OSError(f"fewer than {count} ports from {_CANDIDATES.start} to {_CANDIDATES.stop - 1} are free")
