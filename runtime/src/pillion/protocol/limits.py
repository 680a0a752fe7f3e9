"""How much one request may hold, whatever the transport. Checked before memory is spent on it."""

from __future__ import annotations

import msgspec

__all__ = ["CodecLimits"]


class CodecLimits(msgspec.Struct, frozen=True):
    """Limits on the content of a request; each is a setting of the same name below ``limits``.

    The size of the whole message is the transport's limit, not one of these.
    """

    max_elements: int = 64 * 1024 * 1024
    """Elements of one tensor: the product of its shape."""
    max_tensors: int = 1024
    """Inputs of one request, and outputs it may ask for."""
    max_json_depth: int = 16
    """Levels of lists inside ``data`` or ``instances``."""
    max_string_bytes: int = 16 * 1024 * 1024
    """Characters of one JSON string, and bytes of one element of a raw BYTES tensor."""
