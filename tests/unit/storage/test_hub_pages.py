"""The list of a hub's files, whatever the hub says where it goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pillion.storage.errors import Reason, StorageError
from pillion.storage.hub import HubSource
from pillion.storage.options import FetchOptions
from pillion.storage.uri import parse_uri


class Endless(HubSource):
    """A hub that has always another page, with nothing but a folder on it."""

    asked = 0

    async def _ask(self, address: str) -> tuple[Any, str]:
        self.asked += 1
        if "/revision/" in address:
            return {"sha": "c0ffee"}, ""
        return [{"type": "directory", "path": f"d{self.asked}"}], f"{address}&cursor={self.asked}"


def test_a_list_that_does_not_end_is_given_up() -> None:
    hub = Endless(parse_uri("hf://acme/words"), FetchOptions(max_files=5), {})

    with pytest.raises(StorageError, match="did not answer as a hub of models does") as raised:
        asyncio.run(asyncio.wait_for(hub.list(versions=True), 60))

    assert (Reason.DOWNLOAD_FAILED, 1 + 5) == (raised.value.reason, hub.asked)
