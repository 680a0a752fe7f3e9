"""Records of bytes: however the bytes come, and wherever a file is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.batchpod.records import Record, cuts, records


def cut_into(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_however_their_bytes_come(size: int) -> None:
    found = list(records(cut_into(b"a\r\n\n bc\nd", size), quoted=False, most=100))

    assert [Record(1, b"a\r\n"), Record(2, b"\n"), Record(3, b" bc\n"), Record(4, b"d")] == found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_line_ends_in_quoted_cells_belong_to_them(size: int) -> None:
    content = b'1,"a\nb"\r\n2,"say ""x""\n"\n3,c\n'

    found = [record.content for record in records(cut_into(content, size), quoted=True, most=100)]

    assert [b'1,"a\nb"\r\n', b'2,"say ""x""\n"\n', b"3,c\n"] == found


def test_a_huge_row_is_a_problem_of_its_own_and_never_in_memory() -> None:
    chunks = iter([b"1\n", *[b"x" * 1000] * 1000, b"\n", b"2\n"])

    found = list(records(chunks, quoted=False, most=10))

    assert [Record(1, b"1\n"), Record(3, b"2\n")] == [found[0], found[2]]
    assert "the row has 1000001 bytes, and input.maxRowBytes is 10" == found[1].problem


def test_a_quote_that_is_never_closed_is_said() -> None:
    found = list(records([b'1,a\n2,"b\n3,c\n'], quoted=True, most=100))

    assert b"1,a\n" == found[0].content
    assert (2, 2) == (len(found), found[1].number)
    assert "a quoted cell is not closed" in found[1].problem
    assert [True, False] == [record.whole for record in found]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_quote_within_a_cell_is_a_character_as_any_other(size: int) -> None:
    content = b'1,5" pipe\n2,a""b\n"3"x","y\nz"\n4,\n"","5""\n"\n'

    found = [record.content for record in records(cut_into(content, size), quoted=True, most=100)]

    assert [b'1,5" pipe\n', b'2,a""b\n', b'"3"x","y\nz"\n', b"4,\n", b'"","5""\n"\n'] == found


def test_no_bytes_are_no_records() -> None:
    assert [] == list(records([], quoted=False, most=10))
    assert [] == list(cuts([], quoted=True, every=3))


rows = st.lists(
    st.sampled_from([b"1\n", b"\n", b"22,333\r\n", b'"a\nb",4\n', b'"c""\n"\n', b'5",""\n', b"x" * 30 + b"\n"])
)


@given(content=rows, every=st.integers(1, 40), size=st.integers(1, 50), quoted=st.booleans())
def test_the_parts_of_a_file_hold_its_records_each_once_with_its_number(
    content: list[bytes], every: int, size: int, *, quoted: bool
) -> None:
    text = b"".join(content)
    whole = list(records([text], quoted=quoted, most=100))

    places = list(cuts(cut_into(text, size), quoted=quoted, every=every))

    starts = [(0, 0), *((cut.offset, cut.number) for cut in places)]
    ends = [*(cut.offset for cut in places), len(text)]
    parts = [
        record
        for (start, number), end in zip(starts, ends, strict=True)
        for record in records([text[start:end]], quoted=quoted, most=100, first=number + 1)
    ]
    assert whole == parts
    assert all(end - start >= every for (start, _), end in zip(starts[:-1], ends, strict=False))
