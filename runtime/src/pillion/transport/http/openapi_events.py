"""Streams in the OpenAPI document: what one event holds.

OpenAPI 3.1 has no word for items of a stream. The schema of ``text/event-stream`` is that of one event, its name and
its data, as OpenAPI 3.2 says of ``itemSchema``; what is in the data, which is text, is its ``contentSchema``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EVENT_STREAM", "event_stream"]

EVENT_STREAM: Final = "text/event-stream"


def event_stream(kinds: Mapping[str, Any], end: str = "") -> dict[str, Any]:
    """The content of an answer.

    Args:
        kinds: schemas of the data by the event's name, empty for events without.
        end: what the last event holds instead, if anything.
    """
    events = [_event(name, schema) for name, schema in kinds.items()]
    if end:
        last = {"data": {"type": "string", "const": end}}
        events.append({"type": "object", "required": ["data"], "properties": last})
    return {EVENT_STREAM: {"schema": events[0] if len(events) == 1 else {"oneOf": events}}}


def _event(name: str, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON schema
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    if not name:
        return {"type": "object", "required": ["data"], "properties": {"data": data}}
    properties = {"event": {"type": "string", "const": name}, "data": data}
    return {"type": "object", "required": ["event", "data"], "properties": properties}
