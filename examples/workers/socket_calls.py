"""Calls of the service of ``socket_service.py``: one by one, without an answer, and as an ordered stream."""

import sys

import numpy as np

from pillion.socket import RemoteError, ResponseTimeoutError, SocketClient

with SocketClient(path=sys.argv[1], num_connections=2) as client:
    print("scaled:", client.request("/scale", np.array([2.0, 3.0, 4.0]), response_timeout=10).tolist())
    try:
        client.request("/scale", np.array([]))
    except RemoteError as error:
        print("refused:", error)
    rows = [np.arange(n, dtype=float) for n in (2, 0, 3)]
    for row, answer in client.stream("/scale", rows, return_x=True, return_exceptions=True):
        print(len(row), "values:", answer if isinstance(answer, Exception) else answer.tolist())
    for word in ("no", "answer", "wanted"):
        client.request("/note", word, response_timeout=0)

with SocketClient(path=sys.argv[1]) as client:
    print("noted:", sorted(client.request("/noted")))
    try:
        client.request("/shutdown", response_timeout=10)
    except ResponseTimeoutError:
        print("it does not end")
