"""What a registry answers to somebody whom it does not know. Source: RFC 6750 section 3, RFC 7235. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["challenge"]


def challenge(header: str) -> tuple[str, Mapping[str, str]]:
    """The scheme, in lower case, and the parameters of a WWW-Authenticate header."""
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), dict(re.findall(r'\b(\w+)="([^"]*)"', rest))
