"""Where payloads go, and how much of them may wait."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["PayloadOptions"]


class PayloadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the log of payloads; sizes are bytes, times are seconds."""

    url: str
    mode: Literal["all", "request", "response"] = "all"
    encoding: Literal["binary", "structured"] = "binary"
    share: float = 1.0
    metadata_headers: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    """``name=value``."""
    source: str = ""
    service: str = ""
    namespace: str = ""
    component: str = "predictor"
    endpoint: str = "default"
    max_events: int = 1000
    max_bytes: int = 64 * 1024 * 1024
    connections: int = 2
    timeout: float = 10.0
    ca: str = ""
    bearer_token: str | None = None
    allow_loopback: bool = False
