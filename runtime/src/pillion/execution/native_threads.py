"""Threads inside numerical libraries: kept within the process's CPU quota.

OpenMP and BLAS read their variables once, when they are loaded: :func:`environment` must be applied before numpy is
imported. ONNX Runtime takes its number per session from :func:`per_call`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.execution.cgroup import available_cpus

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = ["VARIABLES", "environment", "for_worker", "limit", "per_call"]

VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_set_here: set[str] = set()
"""Variables that :func:`limit` has set: worker processes get numbers of their own."""


def environment(cpus: int, present: Mapping[str, str]) -> dict[str, str]:
    """The variables to set for a quota of ``cpus``; a variable that the user has set is left alone."""
    return {name: str(max(1, cpus)) for name in VARIABLES if not present.get(name)}


def limit(process: MutableMapping[str, str], cpus: int | None = None) -> None:
    """Set the variables in ``process`` (``os.environ``) for this process's own quota, or its share ``cpus`` of one.
    Before numpy is imported.
    """
    ours = environment(available_cpus() if cpus is None else cpus, process)
    _set_here.update(ours)
    process.update(ours)


def for_worker(threads: int, present: Mapping[str, str]) -> dict[str, str]:
    """All variables of a worker process: those of ``present``, which is this process's environment, with its share of
    threads; what the user has set is left alone.
    """
    inherited = {name: value for name, value in present.items() if name not in _set_here}
    return inherited | environment(threads, inherited)


def per_call(cpus: int, calls: int) -> int:
    """Native threads for each of ``calls`` concurrent calls so that together they fill ``cpus`` and no more."""
    return max(1, cpus // max(1, calls))
