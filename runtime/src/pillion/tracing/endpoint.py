"""Where traces are sent, by OpenTelemetry's variables of the OTLP exporter. Pure.

Each variable has a form for traces alone (``OTEL_EXPORTER_OTLP_TRACES_...``), which wins.
Source: OpenTelemetry, Protocol Exporter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from pillion.web_address import WebAddress, web_address

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PREFIXES", "Endpoint", "endpoint_of", "pairs"]

PREFIXES: Final = ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_")
_DEFAULT: Final = "http://localhost:4318"
_PATH: Final = "/v1/traces"


class Endpoint(msgspec.Struct, frozen=True):
    """A collector."""

    address: WebAddress
    headers: Mapping[str, str] = {}
    """Sent along: credentials, most of the time. Never shown."""
    timeout: float = 10.0
    """Seconds for one batch, attempts after a failure included."""
    compress: bool = False
    """Whether bodies are gzipped."""
    ca: str = ""
    client_certificate: str = ""
    client_key: str = ""
    """Files of TLS."""


def endpoint_of(environ: Mapping[str, str]) -> Endpoint:
    """The collector that the environment names.

    Raises:
        ValueError: a value cannot be used; the text names the variable.
    """
    own, shared = (environ.get(f"{prefix}ENDPOINT", "").strip() for prefix in PREFIXES)
    url = own or (shared or _DEFAULT).rstrip("/") + _PATH
    name = f"{PREFIXES[0] if own else PREFIXES[1]}ENDPOINT"
    try:
        address = web_address(url, of="a collector")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    compression = _first(environ, "COMPRESSION") or "none"
    if compression not in ("gzip", "none"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_COMPRESSION={compression}: expected gzip or none")
    milliseconds = _first(environ, "TIMEOUT") or "10000"
    if not (milliseconds.isascii() and milliseconds.isdigit() and int(milliseconds) > 0):
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT={milliseconds}: expected a whole number of milliseconds above 0")
    try:
        headers = {key.lower(): value for key, value in pairs(_first(environ, "HEADERS")).items()}
    except ValueError:
        raise ValueError(
            "OTEL_EXPORTER_OTLP_HEADERS: expected NAME=VALUE,NAME=VALUE with values percent-encoded"
        ) from None
    return Endpoint(
        address,
        headers,
        int(milliseconds) / 1000,
        compression == "gzip",
        _first(environ, "CERTIFICATE"),
        _first(environ, "CLIENT_CERTIFICATE"),
        _first(environ, "CLIENT_KEY"),
    )


def pairs(text: str) -> dict[str, str]:
    """``a=b,c=d`` with values percent-encoded, as in W3C Baggage.

    Raises:
        ValueError: a part is no pair, or holds what no header can carry.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, separator, value = part.partition("=")
        value = unquote(value.strip())
        if not separator or not key.strip() or not value.isprintable():
            raise ValueError(part)
        found[key.strip()] = value
    return found


def _first(environ: Mapping[str, str], name: str) -> str:
    return next((environ[prefix + name].strip() for prefix in PREFIXES if environ.get(prefix + name, "").strip()), "")
