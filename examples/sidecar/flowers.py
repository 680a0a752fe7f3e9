"""An application beside its model: it knows no address, and outlives its sidecar.

A pod with the label serving.pillion.dev/sidecar has the address in PILLION_URL: a unix socket. A prediction may be
computed twice, so the client asks again while a sidecar that has ended is started anew.

python flowers.py [ROUNDS]
"""

from __future__ import annotations

import sys
import time

import pillion

FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]


def main(rounds: int) -> None:
    """Ask about two flowers, so many times."""
    with pillion.Client(retries=10, timeout=120) as client:
        client.wait_ready(120)
        for number in range(1, rounds + 1):
            print(number, client.predict(FLOWERS), flush=True)
            time.sleep(0.1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
