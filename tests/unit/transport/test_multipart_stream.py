"""A body of parts, however it is cut on its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.errors import PillionError
from pillion.transport.http.multipart_stream import MultipartParser, Part, boundary_of

Parsed = list[tuple[Part, bytes]]
content = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--b", b"\r\n--", b"\r\n--c", b"x", b""]), max_size=8).map(
    b"".join
)


def parsed(chunks: list[bytes], boundary: bytes = b"bnd") -> Parsed:
    parser = MultipartParser(boundary)
    found: Parsed = []
    for chunk in chunks:
        for event in parser.feed(chunk):
            if isinstance(event, Part):
                found.append((event, b""))
            elif event is not None:
                found[-1] = (found[-1][0], found[-1][1] + event)
    parser.close()
    return found


def body_of(parts: list[tuple[str, bytes]], boundary: bytes = b"bnd") -> bytes:
    lines = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="f"\r\n\r\n%b\r\n'
        % (boundary, name.encode(), data)
        for name, data in parts
    ]
    return b"".join(lines) + b"--%b--\r\n" % boundary


@given(parts=st.lists(st.tuples(st.sampled_from(["a", "b"]), content), max_size=4), size=st.integers(1, 60))
def test_parts_come_out_as_they_went_in_however_they_are_cut(parts: list[tuple[str, bytes]], size: int) -> None:
    body = body_of(parts)
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert [(Part(name, "f"), data) for name, data in parts] == parsed(chunks)


def test_names_are_read_as_clients_write_them() -> None:
    body = (
        b'preamble\r\n--bnd \r\ncontent-disposition: form-data; name=plain; filename="a \\"b\\" \xc3\xa4.bin"\r\n'
        b"Content-Type: x/y\r\n\r\nx\r\n--bnd--epilogue"
    )
    assert [(Part("plain", 'a "b" \u00e4.bin'), b"x")] == parsed([body])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x" * 20_000,
        b"--bnd\r\n",
        b'--bnd\r\nContent-Disposition: form-data; name="a"\r\n\r\nx',
        b"--bnd\r\nContent-Type: x/y\r\n\r\nx\r\n--bnd--",
        b"--bnd\r\n\r\nx\r\n--bnd--",
        b'--bnd\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--bnd--',
        b'--bnd\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--bnd--',
        b"--bnd\r\nno colon\r\n\r\nx\r\n--bnd--",
        b"--bnd\r\n" + b"a: b\r\n" * 4000,
        b"--bnd junk\r\n",
    ],
)
def test_what_is_no_such_body_is_refused(body: bytes) -> None:
    with pytest.raises(PillionError, match="malformed"):
        parsed([body])


def test_the_parts_are_bounded() -> None:
    parser = MultipartParser(b"bnd", max_parts=2)
    with pytest.raises(PillionError, match="too many"):
        list(parser.feed(body_of([("a", b"")] * 3)))


def test_the_boundary_is_found_in_the_content_type() -> None:
    assert b"x y" == boundary_of(b'multipart/form-data; charset=utf-8; Boundary="x y"')
    assert b"xy" == boundary_of(b"multipart/form-data;boundary=xy; a=b")
    with pytest.raises(PillionError, match="boundary"):
        boundary_of(b"multipart/form-data")
