from __future__ import annotations

import json

import pytest

from pillion.payload.event import REQUEST, Event, binary, common_attributes, structured
from pillion.payload.options import PayloadOptions

OPTIONS = PayloadOptions(url="http://sink", source="pod-1", service="iris", namespace="ns")


def event(content_type: str, data: bytes, metadata: str = "{}") -> Event:
    return Event(REQUEST, "id-1", 1764000000.5, content_type, data, metadata)


def test_attributes_are_headers_and_the_payload_is_as_it_was() -> None:
    headers, body = binary(event("application/json", b'{"a": 1}', '{"X": ["ü 100%"]}'), common_attributes(OPTIONS))
    assert b'{"a": 1}' == body
    assert {
        "ce-specversion": "1.0",
        "ce-id": "id-1",
        "ce-type": REQUEST,
        "ce-time": "2025-11-24T16:00:00.500Z",
        "ce-source": "pod-1",
        "ce-inferenceservicename": "iris",
        "ce-namespace": "ns",
        "ce-component": "predictor",
        "ce-endpoint": "default",
        "ce-metadata": "{%22X%22:%20[%22%C3%BC%20100%25%22]}",
        "content-type": "application/json",
    } == headers


@pytest.mark.parametrize("value", ["one\r\nce-type: another", "nul\0", "tab\there"])
def test_no_value_ends_its_header(value: str) -> None:
    headers, _ = binary(event("application/json", b"", value), common_attributes(OPTIONS))
    assert all(0x20 < ord(character) < 0x7F for character in headers["ce-metadata"])


@pytest.mark.parametrize(
    ("content_type", "data", "field", "value"),
    [
        ("application/json", b'{"a": 1}', "data", {"a": 1}),
        ("application/json; charset=utf-8", b"[1]", "data", [1]),
        ("application/json", b"{", "data_base64", "ew=="),
        ("application/octet-stream", b"{}", "data_base64", "e30="),
    ],
)
def test_one_object_holds_json_as_it_is_and_all_else_as_base64(
    content_type: str, data: bytes, field: str, value: object
) -> None:
    headers, body = structured(event(content_type, data), common_attributes(OPTIONS))
    document = json.loads(body)
    assert "application/cloudevents+json; charset=utf-8" == headers["content-type"]
    assert (value, content_type, "iris") == (
        document[field],
        document["datacontenttype"],
        document["inferenceservicename"],
    )
