"""Whether artifacts that can run code may be loaded: pickles, and classes that are fetched like a model."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConsentPolicy", "permits"]


@unique
class ConsentPolicy(StrEnum):
    """What is said of such artifacts in general; the value is the word in manifests, labels, values and flags."""

    DENY = "deny"
    """Never, whatever the model's owner says."""
    PER_OBJECT = "perObject"
    """Where the model's owner says so: ``allowPickle: true`` of a pickle, ``trustCode: true`` of a class."""
    ALLOW = "allow"
    """Always."""


def permits(policies: Iterable[ConsentPolicy], *, opted_in: bool) -> bool:
    """Whether such an artifact may be loaded where several have a say: one ``deny`` is enough to forbid it.

    Args:
        policies: of the process, of the platform.
        opted_in: whether the model's owner allowed it.
    """
    said = set(policies)
    return ConsentPolicy.DENY not in said and (opted_in or ConsentPolicy.ALLOW in said)
