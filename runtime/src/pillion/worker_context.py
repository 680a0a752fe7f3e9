"""What each front worker of an application is told by the program that serves it.

Contexts go to processes of the same program, so they may be anything that Python can serialise.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["WorkerContext", "pack", "unpack"]


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """One context, which may be None."""

    value: Any


def pack(contexts: Sequence[object], workers: int, *, named: str = "worker_contexts") -> tuple[bytes, ...]:
    """Each as bytes.

    Args:
        contexts: one for each worker.
        workers: how many there are.
        named: what the caller calls the list.

    Raises:
        ValueError: there are not as many as workers.
        TypeError: it is no list, or one cannot be serialised.
    """
    if isinstance(contexts, (str, bytes)) or not isinstance(contexts, Sequence):
        raise TypeError(f"{named} is a list with one entry for each worker, and not a {type(contexts).__name__}")
    if len(contexts) != workers:
        raise ValueError(
            f"{named} has {len(contexts)} {'entry' if len(contexts) == 1 else 'entries'} and workers is {workers}: give"
            " one for each worker"
        )
    packed = []
    for number, context in enumerate(contexts):
        try:
            packed.append(pickle.dumps(context))
        except Exception as error:  # objects raise whatever they like
            raise TypeError(
                f"{named}[{number}] cannot be given to a process: {error}: give values, and open files, connections and"
                " locks in the worker"
            ) from error
    return tuple(packed)


def unpack(packed: bytes, number: int) -> WorkerContext:
    """The context of worker ``number``.

    Raises:
        ValueError: it cannot be read in this process.
    """
    try:
        return WorkerContext(pickle.loads(packed))  # noqa: S301 - written by the program that started this worker
    except Exception as error:
        raise ValueError(
            f"worker_contexts[{number}] cannot be read in the worker: {error}: classes of its values have to be in a"
            " module that can be imported, not in the program itself"
        ) from error
