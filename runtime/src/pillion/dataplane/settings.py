"""Limits of the data plane."""

from __future__ import annotations

import msgspec

from pillion.dataplane.standing import ShedWhen

__all__ = ["PlaneSettings"]


class PlaneSettings(msgspec.Struct, frozen=True):
    """Defaults for every model, and the limits they share. A model's ``execution`` overrides what it names."""

    timeout_seconds: float | None = 60.0
    """Deadline of a request; one brought by the request can only be sooner. None for no deadline."""
    max_queue: int = 512
    """Requests that may wait for one model; the next one is answered "queue full"."""
    shed_when: ShedWhen = ShedWhen.NEVER
    """When a queue is kept short (:mod:`pillion.dataplane.standing`)."""
    priority_levels: int = 0
    """Levels of priority that requests may ask for (:mod:`pillion.dataplane.ranks`)."""
    default_priority: int = 0
    """Level of those that ask for none; 0 for the lowest."""
    adaptive: bool = False
    """Whether how many calls of a model run at a time is found out (:mod:`pillion.dataplane.concurrency`)."""
    max_in_flight: int = 1024
    """Requests running or waiting in the whole server, over all models."""
