"""Ports that were given out stay with who asked for them."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from e2e.cluster.node import ports

_ASKS = "import sys; from e2e.cluster.node import ports; ports._CANDIDATES = range(*map(int, sys.argv[1:])); "


def test_no_other_process_is_given_a_port_that_this_one_has_and_does_not_listen_on_yet(
    pytestconfig: pytest.Config,
) -> None:
    (port,) = ports.free_ports(1)

    command = [sys.executable, "-c", _ASKS + "ports.free_ports(1)", str(port), str(port + 1)]
    asked = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, timeout=60, check=False)

    assert f"fewer than 1 ports from {port} to {port} are free" in asked.stderr


def test_a_server_listens_on_the_port_again_and_again() -> None:
    (port,) = ports.free_ports(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=60)

    for _ in range(2):
        with (
            socket.create_server(("127.0.0.1", port)),
            socket.create_connection(("127.0.0.1", port), timeout=60),
        ):
            pass


def test_several_ports_differ() -> None:
    assert 20 == len(set(ports.free_ports(20)))
