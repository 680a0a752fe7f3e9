"""Where a text is cut, however its pieces fall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pillion.stopping import StopFinder

LETTERS = st.text("ab.", max_size=12)


def shown(pieces: list[str], stops: list[str]) -> str:
    finder = StopFinder(stops)
    text = ""
    for piece in pieces:
        text += finder.feed(piece)
        if finder.found:
            return text
    return text + finder.rest()


def cut(text: str, stops: list[str]) -> str:
    return text[: min([text.find(stop) for stop in stops if stop in text] or [len(text)])]


def test_a_stop_that_comes_in_two_pieces_is_found() -> None:
    assert "once " == shown(["once <", "end> and"], ["<end>"])


def test_a_beginning_that_becomes_no_stop_is_shown_after_all() -> None:
    assert "a <e" == shown(["a ", "<", "e"], ["<end>"])


@given(st.lists(LETTERS, max_size=6), st.lists(st.text("ab.", min_size=1, max_size=3), max_size=3))
def test_pieces_are_cut_where_the_whole_text_would_be(pieces: list[str], stops: list[str]) -> None:
    found = shown(pieces, stops)
    # A stop that ends earlier is seen first, though a longer one may begin before it.
    assert found == cut("".join(pieces), stops) or any(found + stop in "".join(pieces) for stop in stops)
