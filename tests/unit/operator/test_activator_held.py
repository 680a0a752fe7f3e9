"""What is held of connections that wait: a first piece of each, and more as long as there is room for all."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from pillion_operator.activator.held import HeldBytes, Hold
from pillion_operator.activator.splice import PIECE_BYTES, Stream

_HEAD = b"POST / HTTP/1.1\r\n\r\n"


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_beyond_the_first_piece_a_connection_is_read_only_while_there_is_room_for_all() -> None:
    async def story() -> None:
        used = [0]
        together = HeldBytes(2 * PIECE_BYTES, used.append)
        together.add(2 * PIECE_BYTES)  # of others
        hold = Hold(together, 1 << 20)
        reader = asyncio.StreamReader(limit=1 << 20)
        client = Stream(reader, cast("Any", None))
        reader.feed_data(_HEAD + bytes(3 * PIECE_BYTES - len(_HEAD)))

        await hold.until_it_wakes(client)
        listening = asyncio.create_task(hold.until_it_leaves(client))
        await turns()
        assert 3 * PIECE_BYTES == used[-1]

        together.add(-2 * PIECE_BYTES)
        await turns()
        # A piece more is all that fits.
        assert 2 * PIECE_BYTES == used[-1]

        listening.cancel()
        replay, _, _ = hold.release()
        hold.forget()
        assert 2 * PIECE_BYTES == len(replay)
        assert 0 == used[-1]

    asyncio.run(story())


def test_one_connection_holds_no_more_than_it_may() -> None:
    async def story() -> None:
        used = [0]
        hold = Hold(HeldBytes(1 << 20, used.append), PIECE_BYTES)
        reader = asyncio.StreamReader(limit=1 << 20)
        reader.feed_data(_HEAD + bytes(4 * PIECE_BYTES))

        listening = asyncio.create_task(hold.until_it_leaves(Stream(reader, cast("Any", None))))
        await turns()
        listening.cancel()

        assert PIECE_BYTES == used[-1]

    asyncio.run(story())
