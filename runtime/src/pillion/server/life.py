"""The states a server goes through, and what each means for the probes. Pure."""

from __future__ import annotations

from enum import StrEnum, unique

__all__ = ["Phase", "readiness"]


@unique
class Phase(StrEnum):
    """Where the server is in its life."""

    STARTING = "starting"
    """Ports are bound, the first models are loading."""
    SERVING = "serving"
    WINDOW = "window"
    """preStop runs: the pod is being deleted and clients move on. Still ready: deletion has taken the endpoint out
    already, and kube-proxy falls back to terminating endpoints only while they are Ready."""
    CORDONED = "cordoned"
    """A drain without deletion: no new work, not ready."""
    STOPPING = "stopping"
    """SIGTERM has come: nothing is accepted any more, requests in progress end."""


def readiness(phase: Phase, *, plane_ready: bool, not_ready: str) -> str:
    """Why the process should not get requests; empty means ready.

    Args:
        phase: of the server.
        plane_ready: the data plane's word.
        not_ready: the data plane's reason.
    """
    if phase in (Phase.CORDONED, Phase.STOPPING):
        return "draining: this process takes no new work"
    if not plane_ready:
        return not_ready or "no model is ready"
    return ""
