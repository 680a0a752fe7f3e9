"""CloudEvents 1.0 over HTTP, with the attributes that KServe's logger gives them. Pure.

Source: CloudEvents 1.0 and its HTTP protocol binding (3.1 binary mode, 3.1.3.2 encoding of header values, 3.2
structured mode); for the types and extensions, KServe's agent.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import socket
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.payload.options import PayloadOptions

__all__ = ["REQUEST", "RESPONSE", "Event", "binary", "common_attributes", "structured"]

REQUEST: Final = "org.kubeflow.serving.inference.request"
RESPONSE: Final = "org.kubeflow.serving.inference.response"
_STRUCTURED: Final = "application/cloudevents+json; charset=utf-8"


class Event(msgspec.Struct, frozen=True):
    """One request or answer."""

    kind: str
    event_id: str
    unix: float
    """When it came about: seconds."""
    content_type: str
    data: bytes
    metadata: str


def common_attributes(options: PayloadOptions) -> dict[str, str]:
    """The attributes that every event of this process has. Extensions without a value are there all the same, as sinks
    of KServe's know them; annotations only where there are some.
    """
    attributes = {
        "source": options.source or socket.gethostname(),
        "inferenceservicename": options.service,
        "namespace": options.namespace,
        "component": options.component,
        "endpoint": options.endpoint,
    }
    if options.annotations:
        pairs = (entry.partition("=") for entry in options.annotations)
        attributes["annotations"] = json.dumps({name: value for name, _, value in pairs}, sort_keys=True)
    return attributes


def _attributes(event: Event, common: Mapping[str, str]) -> dict[str, str]:
    moment = dt.datetime.fromtimestamp(event.unix, dt.UTC).isoformat(timespec="milliseconds")
    return {
        "specversion": "1.0",
        "id": event.event_id,
        "type": event.kind,
        "time": moment.replace("+00:00", "Z"),
        **common,
        "metadata": event.metadata,
    }


def binary(event: Event, common: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Headers and body: the attributes as headers, the payload as it was."""
    headers = {f"ce-{name}": _header(value) for name, value in _attributes(event, common).items()}
    headers["content-type"] = event.content_type
    return headers, event.data


def structured(event: Event, common: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """The whole event as one JSON object; payloads that are not JSON are in it as Base64."""
    document: dict[str, object] = {**_attributes(event, common), "datacontenttype": event.content_type}
    body = _json(event)
    if body is None:
        document["data_base64"] = base64.b64encode(event.data).decode()
        return {"content-type": _STRUCTURED}, json.dumps(document).encode()
    head = json.dumps(document)[:-1].encode()
    return {"content-type": _STRUCTURED}, b'%b, "data": %b}' % (head, body)


def _json(event: Event) -> bytes | None:
    """The payload where it is JSON; somebody may have called something JSON that is none."""
    media = event.content_type.partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        return None
    try:
        msgspec.json.decode(event.data, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return None
    return event.data


def _header(value: str) -> str:
    """A value as a header carries it: all but printable ASCII, and space, quote and per cent, as %XX of its UTF-8."""
    return "".join(
        chr(byte) if 0x21 <= byte <= 0x7E and byte not in b'"%' else f"%{byte:02X}" for byte in value.encode()
    )
