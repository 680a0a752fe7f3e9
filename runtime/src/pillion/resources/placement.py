"""Spreading many models over the pods of one service."""

from typing import Annotated, Final

from annotated_types import Ge, Le, MaxLen

from pillion.resources.base import ResourceModel
from pillion.resources.rules import TextRule

__all__ = ["ModelPlacementSpec", "bytes_of"]

_MEMORY = TextRule(
    pattern="^[1-9][0-9]{0,15}([KMGT]i|[kMGT])?$", message="write an amount of memory as in '2Gi' or '500M'"
)
_UNITS: Final[dict[str, int]] = {"": 1} | {
    unit: base ** (power + 1)
    for base, units in ((1000, "kMGT"), (1024, ("Ki", "Mi", "Gi", "Ti")))
    for power, unit in enumerate(units)
}


class ModelPlacementSpec(ResourceModel):
    """Which pods have which of the declared models."""

    copies: Annotated[int, Ge(1), Le(100)] | None = None
    """Pods that have each model. Default: 1."""

    memory: Annotated[str, MaxLen(20), _MEMORY] | None = None
    """Memory for models in each pod, such as `2Gi`: no pod is given more. Default: nothing bounds it."""


def bytes_of(memory: str) -> int:
    """Return how many bytes an amount is that this field takes."""
    number = memory.rstrip("KMGTki")
    return int(number) * _UNITS[memory[len(number) :]]
