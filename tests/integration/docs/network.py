"""A loopback of one's own, so that documents may name the ports that a reader uses: 8080, 8081 and 8082.

Two runs of the tests on one machine, or a run beside a server that somebody left on 8080, would meet otherwise. It is a
Linux network namespace, which root and (where the kernel allows user namespaces) anybody can make; where neither is
possible commands run in the machine's own network.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Self

__all__ = ["OwnLoopback"]

# Brings `lo` up (SIOCGIFFLAGS, SIOCSIFFLAGS: netdevice(7)) and stays until its standard input ends.
HOLDER = """
import fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    request = bytearray(struct.pack("16sh22x", b"lo", 0))
    fcntl.ioctl(control, 0x8913, request)
    flags = struct.unpack_from("h", request, 16)[0]
    fcntl.ioctl(control, 0x8914, struct.pack("16sh22x", b"lo", flags | 1))
print("up", flush=True)
sys.stdin.read()
"""
WAYS = (
    (["unshare", "--net"], ["--net"]),
    (["unshare", "--user", "--map-root-user", "--net"], ["--user", "--preserve-credentials", "--net"]),
)


class OwnLoopback:
    """A network with nothing but a loopback. A context manager; :attr:`prefix` makes a command run in it."""

    def __init__(self) -> None:
        self.prefix: list[str] = []
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        for make, enter in WAYS:
            holder = subprocess.Popen(
                [*make, sys.executable, "-I", "-c", HOLDER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert holder.stdout is not None
            if holder.stdout.readline() == "up\n":
                self._holder = holder
                self.prefix = ["nsenter", "--target", str(holder.pid), *enter, "--"]
                return self
            holder.communicate()
        return self

    def __exit__(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.communicate()
