from __future__ import annotations

import pytest

from pillion.tracing.context import TraceParent, is_unsampled, parse_traceparent, trace_id_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_traceparent_is_read() -> None:
    for flags, sampled in (("00", False), ("01", True), ("03", True), ("02", False)):
        expected = TraceParent(int(TRACE, 16), int(SPAN, 16), sampled)
        assert expected == parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}".encode())


def test_a_later_version_may_say_more() -> None:
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-what-the-future-brings".encode()) is not None


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"garbage",
        f"00-{TRACE}-{SPAN}".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"00-{TRACE}-{SPAN}-01-more".encode(),
        f"00-{TRACE}-{SPAN}-01 ".encode(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"01-{TRACE}-{SPAN}-01more".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        b"\xff" * 55,
    ],
)
def test_what_is_not_valid_is_no_trace(value: bytes | None) -> None:
    assert parse_traceparent(value) is None
    assert value is None or not is_unsampled(value[:-1] + b"0")


@pytest.mark.parametrize("flags", [f"{number:02x}" for number in (0, 1, 2, 3, 0x10, 0x11, 0xFE, 0xFF)])
def test_the_quick_look_says_what_reading_says(flags: str) -> None:
    value = f"00-{TRACE}-{SPAN}-{flags}".encode()
    parent = parse_traceparent(value)
    assert parent is not None
    assert is_unsampled(value) != parent.sampled


def test_logs_name_a_trace_whether_it_is_sampled_or_not() -> None:
    assert TRACE == trace_id_of({b"traceparent": f"00-{TRACE}-{SPAN}-00".encode()})
    assert "" == trace_id_of({})
