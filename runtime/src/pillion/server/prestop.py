"""``python -m pillion.server.prestop``: the preStop hook. Asks the server to drain, returns when it may be killed.

Only the standard library, and little of it: the hook runs inside the pod's memory limit while requests are served.

Exit codes: 0 the window has ended, or there is no server to drain; 1 the server refused or went away; 2 usage.
"""

from __future__ import annotations

import os
import socket
import sys

DEFAULT = "/run/pillion/control.sock"
USAGE = """usage: python -m pillion.server.prestop [--socket PATH] [--keep]

Asks the server to drain and returns when its window has ended.

  --socket PATH  the control socket (default: PILLION_CONTROL__SOCKET, else /run/pillion/control.sock)
  --keep         the pod stays: take no new work, turn /readyz to 503, return at once
"""


def main(arguments: list[str]) -> int:
    """Run the hook; returns the exit code."""
    path = os.environ.get("PILLION_CONTROL__SOCKET") or DEFAULT
    request = b'{"command": "drain"}\n'
    while arguments:
        flag = arguments.pop(0)
        if flag == "--socket" and arguments:
            path = arguments.pop(0)
        elif flag == "--keep":
            request = b'{"command": "drain", "deletion": false}\n'
        else:
            sys.stderr.write(USAGE)
            return 0 if flag in ("-h", "--help") else 2
    return ask(path, request)


def ask(path: str, request: bytes) -> int:
    """Send one request and wait for its answer. There is no time-out: the kubelet's grace period bounds the hook."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            sys.stderr.write(f"prestop: no server listens on {path}: nothing to drain\n")
            return 0
        except OSError as error:
            sys.stderr.write(f"prestop: cannot reach {path}: {error.strerror}\n")
            return 1
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"\n"):
            try:
                piece = connection.recv(4096)
            except ConnectionError:
                piece = b""
            if not piece:
                break
            answer += piece
    if b'"result"' in answer:
        return 0
    sys.stderr.write(f"prestop: {answer.decode(errors='replace').strip() or 'the server went away'}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
