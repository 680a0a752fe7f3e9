"""Versions of the libraries behind an artifact: which saved it, which load it, and whether that matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Mismatch", "image_variant", "minor", "mismatches"]

_WITHOUT_PROMISE: Final = frozenset({"scikit-learn"})
"""Libraries that promise nothing about models of another minor version. The others read what older ones wrote."""

_SHORT: Final = {"scikit-learn": "sklearn"}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One library that saved in one minor version and loads in another."""

    name: str
    saved: str
    loading: str

    def __str__(self) -> str:
        return f"saved by {self.name} {self.saved} and loaded by {self.loading}"


def mismatches(saved: Mapping[str, str], loading: Mapping[str, str]) -> Iterator[Mismatch]:
    """Libraries whose results may differ for that reason, by name. Versions by library name."""
    for name in sorted(_WITHOUT_PROMISE & saved.keys() & loading.keys()):
        if minor(saved[name]) != minor(loading[name]):
            yield Mismatch(name, saved[name], loading[name])


def image_variant(mismatch: Mismatch) -> str:
    """The ``runtimeVersion`` that asks for a runtime with the library that saved the model: ``sklearn-1.6``."""
    return f"{_SHORT.get(mismatch.name, mismatch.name)}-{minor(mismatch.saved)}"


def minor(version: str) -> str:
    """Major and minor: ``1.6`` of ``1.6.1``."""
    return ".".join(version.split(".")[:2])
