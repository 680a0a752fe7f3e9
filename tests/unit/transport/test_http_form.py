"""Forms with files that go to disk: where they are written, and that their order stays."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pillion.transport.http.caller import Caller
from pillion.transport.http.form import read_form
from pillion.transport.http.options import DispatchOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGE = 1024 * 1024 + 100_000
HEAD = {b"content-type": b"multipart/form-data; boundary=bnd"}


def body_of(parts: Sequence[tuple[str, bytes]]) -> bytes:
    head = b'--bnd\r\nContent-Disposition: form-data; name="%b"; filename="f"\r\n\r\n%b\r\n'
    return b"".join(head % (name.encode(), data) for name, data in parts) + b"--bnd--\r\n"


async def read(body: bytes, sizes: int) -> list[tuple[str, bytes]]:
    pieces = [body[at : at + sizes] for at in range(0, len(body), sizes)]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    parts, _ = await read_form(HEAD, receive, DispatchOptions(), Caller("1", {}))
    return [(part.name, b"" if part.file is None else part.file.read()) for part in parts]


@pytest.mark.parametrize("sizes", [10_000, 300_000, 10_000_000])
async def test_large_files_are_written_in_threads_also_at_their_end(
    monkeypatch: pytest.MonkeyPatch, sizes: int
) -> None:
    writers: set[int] = set()
    write = os.write

    def watched(descriptor: int, data: Any) -> int:
        writers.add(threading.get_ident())
        return write(descriptor, data)

    sent = [("a", b"small"), ("b", b"x" * LARGE), ("c", b"y"), ("d", b"z" * (LARGE + 7)), ("e", b"")]
    monkeypatch.setattr("pillion.transport.http.form.os.write", watched)
    found = await read(body_of(sent), sizes)
    assert sent == found
    assert writers
    assert threading.get_ident() not in writers
