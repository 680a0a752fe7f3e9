"""The log of payloads: what the manifest says of it, as settings of the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.web_address import web_address

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion_operator.builders.context import BuildContext

__all__ = ["logger_problem", "logger_settings"]


def logger_problem(context: BuildContext) -> str | None:
    """Return why the manifest's logger has no effect; None where it has, or is not asked for."""
    logger = context.predictor.logger
    if logger is None:
        return None
    if not context.ours:
        return (
            f"spec.predictor.logger on the container {context.container.get('name')!r}, which is not Pillion's runtime"
        )
    if not logger.url:
        return "spec.predictor.logger without url (there is no default sink: name one)"
    try:
        web_address(logger.url, of="a sink")
    except ValueError as error:
        return f"spec.predictor.logger.url ({error})"
    return None


def logger_settings(context: BuildContext) -> dict[str, JsonValue]:
    """Return the runtime's settings of the logger; empty where it has no effect."""
    logger = context.predictor.logger
    if logger is None or not logger.url or logger_problem(context) is not None:
        return {}
    annotations = context.service.metadata.annotations or {}
    settings: dict[str, JsonValue] = {
        "url": logger.url,
        "mode": logger.mode or "all",
        "service": context.name,
        "namespace": context.namespace,
    }
    if logger.metadata_headers:
        settings["metadata_headers"] = list(logger.metadata_headers)
    copied = [f"{name}={annotations[name]}" for name in logger.metadata_annotations or () if name in annotations]
    if copied:
        settings["annotations"] = list(copied)
    if logger.sample_percent is not None:
        settings["share"] = logger.sample_percent / 100
    return settings
