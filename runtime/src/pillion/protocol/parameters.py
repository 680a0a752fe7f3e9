"""Parameters that mean something to Triton's clients: two are acted on, some are refused, the rest is passed on.

Source: Triton Inference Server's extensions "Parameters", "Sequence", "Schedule Policy" and "Shared-Memory". The Open
Inference Protocol leaves the meaning of parameters to servers; those that no server would know are handed to the data
plane with the request, and ignored by models that do not look at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from pillion.dataplane.call import Parameters

__all__ = ["NO_SHARED_MEMORY", "check_parameters", "lower", "refuse_shared_memory", "sooner"]

NO_SHARED_MEMORY: Final = (
    "shared memory is not offered: clients and server do not share a machine's memory; send tensors as binary data"
)
_SHARED_MEMORY: Final = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
_SEQUENCE: Final = ("sequence_id", "sequence_start", "sequence_end")
_TIMEOUT: Final = "timeout"
_PRIORITY: Final = "priority"
_LONGEST_TIMEOUT: Final = 10**15
"""Microseconds: thirty years, well inside what a float holds exactly."""


def check_parameters(parameters: Parameters) -> None:
    """Refuse what would be misunderstood if it were ignored.

    Raises:
        PillionError: ``UNIMPLEMENTED`` for sequences and shared memory; ``INVALID_ARGUMENT`` for a ``timeout`` or a
            ``priority`` that is none.
    """
    refuse_shared_memory(parameters, "parameters")
    for name in _SEQUENCE:
        # Triton's clients may say 0, "" and false for requests that belong to no sequence.
        if parameters.get(name):
            raise PillionError(
                ErrorCode.UNIMPLEMENTED,
                f"parameters.{name}: sequences are not offered: every request stands for itself",
                field=f"parameters.{name}",
                remedy="send what the model has to remember with each request",
            )
    for name in (_TIMEOUT, _PRIORITY):
        value = parameters.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LONGEST_TIMEOUT:
            unit = " of microseconds, 0 for none" if name == _TIMEOUT else ""
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"parameters.{name}: must be a whole number{unit}",
                field=f"parameters.{name}",
            )


def refuse_shared_memory(parameters: Parameters, field: str) -> None:
    """Shared memory regions cannot be reached from another pod.

    Raises:
        PillionError: ``UNIMPLEMENTED`` when the parameters ask for one.
    """
    for name in _SHARED_MEMORY:
        if name in parameters:
            raise PillionError(
                ErrorCode.UNIMPLEMENTED,
                f"{field}.{name}: shared memory is not supported",
                field=f"{field}.{name}",
                remedy="send the tensor as binary data in the body",
            )


def sooner(deadline: float | None, parameters: Parameters, now: float) -> float | None:
    """The deadline of a request whose parameters may have a ``timeout``, which can only shorten it."""
    timeout = parameters.get(_TIMEOUT, 0)
    if not isinstance(timeout, int) or not timeout:
        return deadline
    own = now + timeout * 1e-6
    return own if deadline is None else min(own, deadline)


def lower(priority: int, parameters: Parameters) -> int:
    """The priority of a request whose parameters may have one: of two the lower, which is the larger number.

    So whoever is in front of the server bounds what clients ask for by saying it in the request's headers.
    """
    own = parameters.get(_PRIORITY, 0)
    return max(priority, own) if isinstance(own, int) else priority
