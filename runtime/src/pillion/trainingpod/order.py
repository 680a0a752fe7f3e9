"""What a pod is told by the operator: one variable with JSON, so that it is one value in the Job's template."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VARIABLE", "Place", "PodOrder", "read_order", "seconds_of"]

VARIABLE: Final = "PILLION_TRAINING"
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+(?:[.][0-9]+)?)(ms|s|m|h)")


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where something is written to."""

    uri: str
    """As the manifest has it, for people and for whoever reads it again."""
    at: str
    """The same as the pod reaches it: a claim is a folder there, `file:///...`."""


class PodOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The training of one TrainingJob. What is not asked for is left out, so that images of other versions read it."""

    name: Annotated[str, Meta(min_length=1)]
    namespace: str
    uid: Annotated[str, Meta(min_length=1)]
    module: str = ""
    """File or module, and class; empty where a program of the user's trains."""
    task: str = ""
    """The training's name, where the manifest says it."""
    parameters: dict[str, Any] = {}
    dataset: str = ""
    """The folder that the data are in; empty where there are none."""
    dataset_uri: str = ""
    dataset_parameter: str = ""
    output: Place | None = None
    checkpoint: Place | None = None
    every_seconds: float = 0.0
    grace_seconds: float = 60.0
    """From the pod's being told to end to its being killed."""
    work: str = "/mnt/pillion/work"
    port: int = 8082
    """Of `/status`."""
    termination_log: str = "/dev/termination-log"


def read_order(environment: Mapping[str, str]) -> PodOrder:
    """Read the order from the variable.

    Raises:
        PillionError: it is not there, or not of this version.
    """
    try:
        return msgspec.json.decode(environment.get(VARIABLE, ""), type=PodOrder)
    except msgspec.MsgspecError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"the variable {VARIABLE} is no order: {error}") from None


def seconds_of(duration: str) -> float:
    """Return the seconds of a duration such as `1h30m`; it has been validated."""
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(duration))
