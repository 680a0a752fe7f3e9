"""Ports of loopback that nobody listens on."""

from __future__ import annotations

from e2e.cluster.node.ports import free_ports

__all__ = ["free_port"]


def free_port() -> int:
    """One that is free, and that nobody else is given: neither who asks for any, nor another process of tests."""
    (port,) = free_ports(1)
    return port
