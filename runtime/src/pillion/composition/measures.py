"""How long steps take: counted by every composition of this process, read when somebody scrapes."""

from __future__ import annotations

from typing import Final

from pillion.metrics import Distribution

__all__ = ["STEPS", "distribution"]

STEPS: Final[dict[tuple[str, str], Distribution]] = {}
"""By the names of flow and step."""


def distribution(flow: str, step: str) -> Distribution:
    """Where the times of a step are counted."""
    return STEPS.setdefault((flow, step), Distribution())
