"""The answer to a scraper: Prometheus text, or OpenMetrics with exemplars where it accepts that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion.metrics import Registry

__all__ = ["exposed"]


def exposed(registry: Registry, accept: str) -> tuple[int, str, bytes]:
    """Status, media type and body."""
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - only who scrapes needs it

    encode, media_type = choose_encoder(accept)
    return 200, media_type, encode(registry)
