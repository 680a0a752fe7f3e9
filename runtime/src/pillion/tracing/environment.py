"""OpenTelemetry's environment variables: whether requests are traced, and how.

The collector is :mod:`pillion.tracing.endpoint`'s. What is wrong is a warning and never ends a start: such variables
come from injectors of a whole cluster, and a model is not to fail with the collector.
Source: OpenTelemetry, Environment Variable Specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pillion.tracing.endpoint import PREFIXES
from pillion.tracing.sampling import ALWAYS, Sampler, sampler_named

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TracingSettings", "tracing_settings"]

_SPOKEN: Final = "http/protobuf"


class TracingSettings(msgspec.Struct, frozen=True):
    """How traces are made and sent."""

    sampler: Sampler = ALWAYS
    propagate: bool = True
    """Whether ``traceparent`` of callers is continued (``OTEL_PROPAGATORS``)."""
    max_queue: int = 2048
    """Traces that wait to be sent; one more is dropped, and counted (``OTEL_BSP_MAX_QUEUE_SIZE``)."""
    max_batch: int = 512
    """Traces sent at once (``OTEL_BSP_MAX_EXPORT_BATCH_SIZE``)."""
    interval: float = 5.0
    """Seconds until those are sent that do not fill a batch (``OTEL_BSP_SCHEDULE_DELAY``)."""


def tracing_settings(environ: Mapping[str, str]) -> tuple[TracingSettings | None, tuple[str, ...]]:
    """The settings, None where nothing is to be traced; and what is to be warned of."""
    exporters = [name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    asked = any(environ.get(f"{prefix}ENDPOINT") for prefix in PREFIXES) or "otlp" in exporters
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporters == ["none"]:
        return None, ()
    if exporters and "otlp" not in exporters:
        named = ",".join(exporters)
        return None, (f"OTEL_TRACES_EXPORTER={named}: traces are sent by otlp only; set it to otlp. Tracing is off",)
    if not asked:
        return None, ()
    for name in (f"{prefix}PROTOCOL" for prefix in PREFIXES):
        protocol = environ.get(name, "").strip()
        if protocol and protocol != _SPOKEN:
            text = f"{name}={protocol}: traces are sent by {_SPOKEN}, which collectors take on port 4318"
            return None, (f"{text}; set {name} to {_SPOKEN} and the endpoint to that port. Tracing is off",)
        if protocol:
            break
    warnings: list[str] = []
    propagators = environ.get("OTEL_PROPAGATORS", "").split(",")
    return TracingSettings(
        sampler=_sampler(environ, warnings),
        propagate=propagators == [""] or "tracecontext" in [name.strip() for name in propagators],
        max_queue=_whole(environ, "OTEL_BSP_MAX_QUEUE_SIZE", 2048, warnings),
        max_batch=_whole(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, warnings),
        interval=_whole(environ, "OTEL_BSP_SCHEDULE_DELAY", 5000, warnings) / 1000,
    ), tuple(warnings)


def _sampler(environ: Mapping[str, str], warnings: list[str]) -> Sampler:
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if not name:
        return ALWAYS
    try:
        return sampler_named(name, environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip())
    except ValueError as error:
        warnings.append(f"{error}. The sampler is parentbased_always_on")
        return ALWAYS


def _whole(environ: Mapping[str, str], name: str, default: int, warnings: list[str]) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    warnings.append(f"{name}={text}: expected a whole number above 0. It is {default}")
    return default
