"""Which CPUs each of several worker processes is bound to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["spread"]


def spread(cpus: Iterable[int], worker: int, workers: int) -> tuple[int, ...]:
    """The CPUs of one of ``workers``, in equal and disjoint shares; with more workers than CPUs they take turns.

    Neighbours stay together: they often share a cache.
    """
    known = sorted(cpus)
    if workers >= len(known):
        return (known[worker % len(known)],)
    begin, end = worker * len(known) // workers, (worker + 1) * len(known) // workers
    return tuple(known[begin:end])
