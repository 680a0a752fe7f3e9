"""A service on a unix socket: functions by path.

python socket_service.py /tmp/service.sock
python socket_calls.py /tmp/service.sock
"""

import asyncio
import sys

import numpy as np
from numpy.typing import NDArray

from pillion.socket import SocketApplication, SocketServer

app = SocketApplication()
words: list[str] = []


@app.route("/scale")
async def scale(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values between 0 and 1."""
    if not x.size:
        raise ValueError("there is nothing to scale")
    scaled: NDArray[np.float64] = (x - x.min()) / (np.ptp(x) or 1.0)
    return scaled


@app.route("/note")
async def note(word: str) -> None:
    """Keep a word."""
    words.append(word)


@app.route("/noted")
async def noted() -> list[str]:
    """The words that were kept."""
    return words


if __name__ == "__main__":
    asyncio.run(SocketServer(app, path=sys.argv[1], shutdown_route="/shutdown").serve())
    print("the service has ended")
