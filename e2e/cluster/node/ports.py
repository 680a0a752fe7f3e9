"""Free ports on the loopback interface."""

from __future__ import annotations

import atexit
import random
import socket

_CANDIDATES = range(11_000, 20_000)
"""Below those that Linux gives to whoever asks for any port, connections of clients included: nobody else is given one
of these between the look here and the start of who listens on it. Above those of Kubernetes' own components."""

_held: list[socket.socket] = []
"""One for each port that was given out: it does not listen, and keeps others who look here from the same port."""


@atexit.register
def _let_go() -> None:
    for each in _held:
        each.close()


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports that are free on 127.0.0.1.

    No other process is given them by this function before this one ends. Whoever is to listen on them needs
    SO_REUSEADDR, which servers set.
    """
    found: list[socket.socket] = []
    for port in random.sample(_CANDIDATES, len(_CANDIDATES)):
        if len(found) == count:
            break
        holding = socket.socket()
        try:
            holding.bind(("127.0.0.1", port))
        except OSError:
            holding.close()
            continue
        # Only now: those that may use addresses again and do not listen do not exclude each other.
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.append(holding)
    _held.extend(found)
    if len(found) < count:
        raise OSError(f"fewer than {count} ports from {_CANDIDATES.start} to {_CANDIDATES.stop - 1} are free")
    return [int(each.getsockname()[1]) for each in found]
