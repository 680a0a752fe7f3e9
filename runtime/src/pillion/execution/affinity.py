"""Which CPUs each of several worker processes is bound to, and how many threads that is good for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.runtimefile import cpu_lists

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BindingError", "bindings", "shares", "spread"]

Cpus = tuple[int, ...]


class BindingError(Exception):
    """Workers cannot be bound to the CPUs that were named. The text begins with the field."""


def bindings(asked: str | None, allowed: Iterable[int], workers: int, *, spreading: bool) -> list[Cpus | None]:
    """The CPUs of each worker, None where it goes wherever the kernel likes.

    Args:
        asked: lists as in ``execution.cpus``: one for all workers, or as many as there are workers.
        allowed: what this process may use.
        workers: how many there are.
        spreading: whether each is to have a share of its own.

    Raises:
        BindingError: it cannot be done.
    """
    known = sorted(allowed)
    if asked is None:
        return [spread(known, worker, workers) if spreading else None for worker in range(workers)]
    if spreading:
        raise BindingError("execution.cpus: affinity: spread chooses CPUs, too: leave one of the two out")
    lists = cpu_lists(asked)
    if len(lists) not in (1, workers):
        raise BindingError(
            f"execution.cpus: it has {len(lists)} lists for {workers} worker processes: give each its own, or all one"
        )
    foreign = sorted({cpu for one in lists for cpu in one} - set(known))
    if foreign:
        raise BindingError(
            f"execution.cpus: CPU {', '.join(map(str, foreign))} is not for this process, which may use"
            f" {_ranges(known)}"
        )
    return list(lists * workers if len(lists) == 1 else lists)


def shares(bound: list[Cpus | None], cpus: int) -> list[int]:
    """Threads for the libraries of each worker: its share of the quota of ``cpus``, and no more than it is bound to.

    Where several are bound to the same CPUs, they share them.
    """
    most = [max(1, cpus // len(bound)) if one is None else max(1, len(one) // bound.count(one)) for one in bound]
    return [min(cpus, one) for one in most]


def _ranges(cpus: list[int]) -> str:
    """As in ``0-3,8``."""
    parts: list[list[int]] = []
    for cpu in cpus:
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def spread(cpus: Iterable[int], worker: int, workers: int) -> Cpus:
    """The CPUs of one of ``workers``, in equal and disjoint shares; with more workers than CPUs they take turns.

    Neighbours stay together: they often share a cache.
    """
    known = sorted(cpus)
    if workers >= len(known):
        return (known[worker % len(known)],)
    begin, end = worker * len(known) // workers, (worker + 1) * len(known) // workers
    return tuple(known[begin:end])
