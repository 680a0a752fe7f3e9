"""What the operator reads of a real runtime to scale it."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import threading
import tracemalloc
from typing import TYPE_CHECKING

import aiohttp
import httpx
import pytest

from pillion.runtimefile import RuntimeFile, dump
from pillion_operator.observe.pod_load import LoadSamples
from pillion_operator.observe.pod_metrics import MetricsReader
from pillion_operator.scaling.decision import PodLoad
from tests.integration.observe.slow import slow_model
from tests.integration.server.process import served
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pillion_operator.state.manifest import Manifest

POD: Manifest = {"metadata": {"uid": "u", "name": "p"}, "status": {"phase": "Running", "podIP": "127.0.0.1"}}


def load(port: int) -> PodLoad | None:
    async def ask() -> PodLoad | None:
        async with aiohttp.ClientSession() as session:
            return (await MetricsReader(session, LoadSamples, port).read([POD]))["u"]

    return asyncio.run(ask())


def test_requests_that_run_and_wait_and_have_ended_are_what_the_operator_reads(tmp_path: Path) -> None:
    config, gate = tmp_path / "runtime.yaml", tmp_path / "gate"
    config.write_text(dump(RuntimeFile(models=(slow_model(),))))
    with served(tmp_path, config) as server:
        assert PodLoad() == load(server.ports["admin"])
        url = server.url("/slow/wait")
        asking = [
            threading.Thread(target=httpx.post, args=(url,), kwargs={"json": {"text": str(gate)}, "timeout": 40})
            for _ in range(2)
        ]
        for thread in asking:
            thread.start()
        until_now(lambda: server.admin("/debug/requests").json()["queued"] == 1)

        during = load(server.ports["admin"])
        gate.touch()
        for thread in asking:
            thread.join()

        assert PodLoad(in_progress=2.0, waiting=1.0) == during
        until_now(lambda: load(server.ports["admin"]) == PodLoad(finished=2.0))
        assert load(server.ports["http"]) is None
    assert load(server.ports["admin"]) is None


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[int]:
    """A pod that answers so; its port."""

    class Admin(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Admin) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


LABELS = b"x" * 2000
MODELS = b"".join(b'pillion_in_flight{model="%d%s"} 1.0\n' % (number, LABELS) for number in range(3000))
BUILD = b'pillion_build_info{version="1"} 1.0\n'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (BUILD + MODELS, PodLoad(in_progress=3000.0)),
        (BUILD + b"# " + b"x" * 7_000_000, None),
        (BUILD + MODELS * 2, None),
    ],
    ids=["many models", "a line without end", "more than is read"],
)
def test_long_answers_are_read_without_being_kept(body: bytes, told: PodLoad | None) -> None:
    # Thirty-two pods are asked at a time, and any of them may be a stranger's.
    with answering(body) as port:
        tracemalloc.start()
        found = load(port)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert told == found
    assert peak < 2_000_000
