"""Whether formats that can run code while they are loaded (pickle, joblib) may be loaded."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PicklePolicy", "permits"]


@unique
class PicklePolicy(StrEnum):
    """What is said of pickles in general; the value is the word in manifests, labels, values and flags."""

    DENY = "deny"
    """Never, whatever the model's owner says."""
    PER_OBJECT = "perObject"
    """Where the model's owner says so: ``allowPickle: true``."""
    ALLOW = "allow"
    """Always."""


def permits(policies: Iterable[PicklePolicy], *, opted_in: bool) -> bool:
    """Whether a pickle may be loaded where several have a say: one ``deny`` is enough to forbid it.

    Args:
        policies: of the process, of the platform.
        opted_in: whether the model's owner allowed it.
    """
    said = set(policies)
    return PicklePolicy.DENY not in said and (opted_in or PicklePolicy.ALLOW in said)
