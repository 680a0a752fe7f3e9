"""The checks, one module for each group or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.conformance.checks import binary, errors, extensions, health, infer, metadata, remote, versions

if TYPE_CHECKING:
    from pillion.conformance.model import Check

__all__ = ["all_checks"]


def all_checks() -> list[Check]:
    """Every check, in the order of the report."""
    modules = (health, metadata, infer, versions, errors, binary, remote, extensions)
    return [check for module in modules for check in module.REGISTRY.checks]
