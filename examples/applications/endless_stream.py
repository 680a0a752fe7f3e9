"""A stream without an end; it ends when its client leaves, and its `finally` runs.

pillion serve endless_stream.py:Clock
curl -N 127.0.0.1:8080/ticks                 # Ctrl-C
curl 127.0.0.1:8080/open                     # 0
"""

import time
from collections.abc import Iterator

from pillion import Request


class Clock:
    def __init__(self) -> None:
        self.open = 0

    def ticks(self) -> Iterator[str]:
        self.open += 1
        try:
            while True:
                yield "tick\n"
                time.sleep(0.05)
        finally:
            self.open -= 1

    def __call__(self, request: Request) -> object:
        return self.open if request.url.path.endswith("/open") else self.ticks()
