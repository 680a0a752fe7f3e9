"""Asking a service: the key is shown to it and to nobody else."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pillion.batchpod import remote_model
from pillion.batchpod.order import Service
from pillion.batchpod.predictor import RowsRefusedError
from pillion.batchpod.remote_model import RemoteModel
from pillion.podword import FAILED, LOST, EndedError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slow(ThreadingHTTPServer):
    """Tells its metadata at once; predicts nothing in time, and says so, or never answers."""

    daemon_threads = True
    says_so = False
    code = 504
    asked = 0
    is_well = True
    over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Slow

    def do_GET(self) -> None:
        self._answer(200 if self.server.is_well else 503)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.says_so:
            self.server.over.wait(100)
        self.server.asked += 1
        self._answer(self.server.code)

    def _answer(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[Slow]:
    server = Slow(("127.0.0.1", 0), Handler)
    server.over = threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def asking(server: Slow, patience: float) -> RemoteModel:
    url = f"http://127.0.0.1:{server.server_port}"
    return RemoteModel(Service(url, "iris", timeout_seconds=0.3, patience_seconds=patience), 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("says_so", [True, False])
async def test_rows_that_take_too_long_three_times_are_refused_and_not_the_service(
    slow: Slow, *, says_so: bool
) -> None:
    slow.says_so = says_so

    async with asking(slow, 0.3 if says_so else 30.0) as model:
        with pytest.raises(RowsRefusedError):
            await model.predict(b'{"instances":[[1.0]]}')


@pytest.mark.asyncio
async def test_a_service_that_answers_nothing_at_all_costs_the_pod(slow: Slow) -> None:
    async with asking(slow, 3.0) as model:
        slow.is_well = False
        with pytest.raises(EndedError, match="gave no answer within") as raised:
            await model.predict(b'{"instances":[[1.0]]}')

    assert LOST == raised.value.status


@pytest.mark.asyncio
async def test_a_key_from_a_file_is_sent_without_its_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILLION_API_KEY", " open-sesame\n")

    model = RemoteModel(Service("http://127.0.0.1:9", "iris"), 1)

    assert "open-sesame" == model._http.headers["X-API-Key"]
    await model._http.aclose()


@pytest.mark.parametrize("key", ["open\nsesame", "open\x01sesame", "öpen-sesame", "open\x7fsesame"])
def test_a_key_that_cannot_be_sent_ends_it_and_is_not_told(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("PILLION_API_KEY", key)

    with pytest.raises(EndedError, match="PILLION_API_KEY") as raised:
        RemoteModel(Service("http://127.0.0.1:9", "iris"), 1)

    assert FAILED == raised.value.status
    assert "sesame" not in f"{raised.value} {raised.value.fields}"


def test_what_cannot_be_sent_is_not_quoted() -> None:
    refused = httpx.LocalProtocolError("Illegal header value b'open-sesame'")

    assert "LocalProtocolError" == remote_model._told(refused)
    assert "no route" == remote_model._told(httpx.ConnectError("no  route"))


@pytest.mark.asyncio
async def test_a_service_that_fails_again_and_again_ends_the_run_and_no_row_is_blamed(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_model, "_FIRST_PAUSE", 0.01)
    slow.says_so, slow.code = True, 500

    async with asking(slow, 30) as remote:
        with pytest.raises(EndedError, match="answered 500") as raised:
            await remote.predict(b"{}")

    assert (FAILED, "ServiceRefused") == (raised.value.status, raised.value.fields["reason"])
    assert 5 == slow.asked
