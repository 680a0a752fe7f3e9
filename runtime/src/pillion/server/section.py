"""What the sections of the server's settings are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["Port", "Positive", "Seconds", "Section", "SocketMode", "require_key"]

Port = Annotated[int, Meta(ge=0, le=65535)]
"""A TCP port; 0 lets the system choose."""
SocketMode = Annotated[str, Meta(pattern=r"^0?[0-7]{3}$")]
Positive = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together. msgspec, not pydantic: a server that starts cold imports it six times quicker."""


def require_key(key: str | None, setting: str) -> None:
    """Refuse what is no key.

    Raises:
        ValueError: names the setting, or the file, that holds it.
    """
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ValueError(
            f"{setting} is empty, or has white space or characters beyond ASCII, which no "
            "header can carry; a Secret made from a file often ends with a line break: make it with --from-literal"
        )
