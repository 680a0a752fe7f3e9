"""Limits of the data plane."""

from __future__ import annotations

import msgspec

__all__ = ["PlaneSettings"]


class PlaneSettings(msgspec.Struct, frozen=True):
    """Defaults for every model, and the limits they share. A model's ``execution`` overrides the first two."""

    timeout_seconds: float | None = 60.0
    """Deadline of a request; one brought by the request can only be sooner. None for no deadline."""
    max_queue: int = 128
    """Requests that may wait for one model; the next one is answered "queue full"."""
    shed_standing_queue: bool = False
    """Whether a queue that has not been empty for a while is kept short (:mod:`pillion.dataplane.standing`)."""
    max_in_flight: int = 1024
    """Requests running or waiting in the whole server, over all models."""
