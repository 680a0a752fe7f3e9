from __future__ import annotations

import pytest

from pillion.payload.event import REQUEST, RESPONSE, Event
from pillion.payload.log import PayloadLog
from pillion.payload.options import PayloadOptions


class Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def offer(self, event: Event) -> None:
        self.events.append(event)


def kept(options: PayloadOptions, headers: dict[bytes, bytes], content_type: str = "application/json") -> list[Event]:
    """The events of one request and its answer."""
    sink = Kept()
    log = PayloadLog(options, sink)
    record = log.choose(headers)
    assert record is not None
    log.request(record, content_type, b"1", "ours")
    log.response(record, content_type, b"2")
    return sink.events


def test_request_and_answer_share_the_id_of_the_request_or_of_the_caller() -> None:
    options = PayloadOptions(url="http://sink")
    assert [(REQUEST, "ours"), (RESPONSE, "ours")] == [(event.kind, event.event_id) for event in kept(options, {})]
    assert ["theirs"] * 2 == [event.event_id for event in kept(options, {b"ce-id": b"theirs"})]


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-API-Key", "proxy-authorization"])
def test_headers_that_hold_credentials_are_not_copied(name: str, caplog: pytest.LogCaptureFixture) -> None:
    options = PayloadOptions(url="http://sink", metadata_headers=(name, "X-Team"))
    (asked, _) = kept(options, {name.lower().encode(): b"secret", b"x-team": b"iris"})
    assert '{"X-Team": ["iris"]}' == asked.metadata
    assert name in caplog.text


@pytest.mark.parametrize("content_type", ["text/\xfcber", "a\r\nb: c", "a\0"])
def test_a_media_type_that_no_header_can_carry_is_replaced(content_type: str) -> None:
    (asked, _) = kept(PayloadOptions(url="http://sink"), {}, content_type)
    assert "application/octet-stream" == asked.content_type


def test_a_share_is_decided_once_for_both() -> None:
    sink, chances = Kept(), iter([0.2, 0.1])
    log = PayloadLog(PayloadOptions(url="http://sink", share=0.2), sink, lambda: next(chances))
    assert log.choose({}) is None
    assert log.choose({}) is not None
