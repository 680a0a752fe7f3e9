"""The reference page of ``pillion conformance``."""

from __future__ import annotations

from pillion.conformance.reference import page


def outputs() -> dict[str, str]:
    """Return the text of each file by its path from the root."""
    return {"docs/reference/conformance.md": page()}
