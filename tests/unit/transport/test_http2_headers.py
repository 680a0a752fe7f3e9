"""Header compression by the examples of RFC 7541, appendix C, and by what breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.transport.grpc.http2 import huffman
from pillion.transport.grpc.http2.hpack import HeaderBlockError, HeaderDecoder, OversizedHeadersError, literal

FIRST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
SECOND = [*FIRST, (b"cache-control", b"no-cache")]
THIRD = [
    (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]  # fmt: skip
PLAIN = (
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
)
"""Section C.3."""
CODED = (
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
)
"""Section C.4."""
THIRD_ANSWER = (
    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f"
    "3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
)
"""Of section C.6."""


@pytest.mark.parametrize("blocks", [PLAIN, CODED], ids=["plain", "Huffman"])
def test_the_examples_of_the_specification_are_read_in_their_order(blocks: tuple[str, ...]) -> None:
    decoder = HeaderDecoder(4096)
    assert [FIRST, SECOND, THIRD] == [decoder.decode(bytes.fromhex(block)) for block in blocks]


def test_entries_are_evicted_from_a_small_table() -> None:
    # Section C.6: responses with a table of 256 bytes; the third example evicts what the first put in.
    decoder = HeaderDecoder(4096, 256)
    for block in (
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        THIRD_ANSWER,
    ):
        fields = decoder.decode(bytes.fromhex(block))
    assert (b":status", b"200") == fields[0]
    assert (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1") == fields[-1]
    with pytest.raises(HeaderBlockError):
        decoder.decode(b"\xc1")


@pytest.mark.parametrize(
    "block",
    [
        b"\x80", b"\xbe", b"\x7f\xff\xff\xff\xff\xff\xff", b"\x00\x05abc", b"\x3f\xe2\x1f", b"\x82\x20",
        b"\x00\x01a\x84\xff\xff\xff\xff", b"\x00\x01a\x81\x00", b"\x00", b"\xff",
    ],
)  # fmt: skip
def test_a_block_that_breaks_the_rules_is_refused(block: bytes) -> None:
    with pytest.raises(HeaderBlockError):
        HeaderDecoder(4096).decode(block)


def test_fields_are_counted_with_what_they_cost_us() -> None:
    with pytest.raises(OversizedHeadersError):
        HeaderDecoder(100).decode(literal(b"a", b"b") * 3)
    assert 2 == len(HeaderDecoder(100).decode(literal(b"a", b"b") * 2))


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=5))
def test_what_is_written_is_read_again(fields: list[tuple[bytes, bytes]]) -> None:
    assert fields == HeaderDecoder(10**6).decode(b"".join(literal(name, value) for name, value in fields))


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_refused(block: bytes) -> None:
    try:
        HeaderDecoder(4096).decode(block)
    except (HeaderBlockError, OversizedHeadersError):
        return


def test_every_symbol_has_its_code() -> None:
    assert b"302" == huffman.decode(bytes.fromhex("6402"))
    assert b"https://www.example.com" == huffman.decode(bytes.fromhex("9d29ad171863c78f0b97c8e9ae82ae43d3"))
