"""The first process of a node: it starts the node's programs and collects those that end.

It runs in mount, network, process and host name namespaces of its own. The kernel kills everything
in a process namespace with its first process, and drops the mounts and the links with the last one:
so the end of this process is the end of the node, whatever state the node was in.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_READY_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 0.02

#: Where programs write although they are told otherwise; the host shall not see it.
COVERED = ("/run", "/var/lib/cni", "/var/log/containers")


def main(home: Path) -> NoReturn:
    """Boot the node described by `home/boot.json` and reap its processes for ever.

    Waits for a line on standard input first: until then the network is not there. Without one, the
    command that starts the node has died, and so does the node.
    """
    if not sys.stdin.readline():
        _fail("the command that started the node has ended before the network was made")
    boot = json.loads((home / "boot.json").read_text())
    _cover_host_folders()
    socket.sethostname(boot["hostname"])
    ready: dict[str, Callable[[], None]] = {
        "etcd": lambda: _connect_tcp("127.0.0.1", 2379),
        "containerd": lambda: _connect_unix(boot["containerd_socket"]),
        "kube-apiserver": lambda: _request_readyz(home / "pki"),
    }
    running: dict[int, str] = {}
    for name, command in boot["daemons"]:
        running[_start(command, home / "log" / f"{name}.log")] = name
        # kube-apiserver may start beside containerd, which is slow with a cold disk; only kubelet needs both.
        if name in ready and name != "containerd":
            _wait(name, ready[name], running)
        if name == "kube-scheduler":
            _wait("containerd", ready["containerd"], running)
    _reap(running)


def _cover_host_folders() -> None:
    # A change of ours must not reach the host, while mounts of pods must reach containers.
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    for folder in COVERED:
        Path(folder).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "pillion-e2e", folder], check=True)


def _start(command: list[str], log: Path) -> int:
    with log.open("ab") as output:
        # Not kept as an object: this process reaps all its children itself, below.
        return os.posix_spawn(
            command[0],
            command,
            _environment(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
            ],
            setsid=True,
        )


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without proxies: all that the programs talk to is in the node."""
    return {key: value for key, value in environment.items() if not key.lower().endswith("_proxy")}


def _wait(name: str, attempt: Callable[[], None], running: Mapping[int, str]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while True:
        try:
            attempt()
        except OSError as error:
            if time.monotonic() > deadline:
                _fail(f"{name} was not ready within {_READY_WITHIN_SECONDS:.0f} s: {error}")
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended in running:
                _fail(f"{running[ended]} ended with status {os.waitstatus_to_exitcode(status)}")
            time.sleep(_POLL_SECONDS)
        else:
            return


def _connect_tcp(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=1).close()


def _connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def _request_readyz(pki: Path) -> None:
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    opener.open("https://127.0.0.1:6443/readyz", timeout=5).close()


def _reap(running: dict[int, str]) -> NoReturn:
    # As long as a program runs there is a child, and pods' processes are orphans of this process.
    while True:
        ended, status = os.wait()
        if ended in running:
            _say(f"{running.pop(ended)} ended with status {os.waitstatus_to_exitcode(status)}")
        if not running:
            _fail("no program of the node is left")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _fail(message: str) -> NoReturn:
    _say(message)
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(Path(sys.argv[1]))
