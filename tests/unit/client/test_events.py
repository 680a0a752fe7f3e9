"""Server-sent events as they come, piece after piece."""

from __future__ import annotations

import pytest

from pillion.client.errors import ClientError
from pillion.client.events import Event, Events, Lines

STREAM = 'id: 7\nevent: log\ndata: {"text":"a\u2028b\u0085c\\nd \u00e9"}\n\n: beat\r\n\r\nid: 8\rdata: 1\r\r\n'.encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(STREAM)])
def test_lines_end_by_the_standard_alone_however_the_pieces_come(size: int) -> None:
    lines, events = Lines(), Events()
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    found = [event for piece in pieces for line in lines.feed(piece) if (event := events.feed(line)) is not None]
    assert found == [Event("log", {"text": "a\u2028b\u0085c\nd \u00e9"}, "7"), Event("message", 1, "8")]


def test_an_event_that_is_no_json_is_a_failure_of_the_client() -> None:
    events = Events()
    events.feed("data: <html>")
    with pytest.raises(ClientError, match="is this a Pillion server"):
        events.feed("")
