"""Ports of loopback that nobody listens on."""

from __future__ import annotations

from e2e.cluster.node.ports import free_ports

__all__ = ["free_port"]


def free_port() -> int:
    """One that was free a moment ago, and that nobody is given who asks for any."""
    (port,) = free_ports(1)
    return port
