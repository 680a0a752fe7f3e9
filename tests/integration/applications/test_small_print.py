"""What applications are promised beside their requests: places that threads hold, memory, time of their own, an end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import FileResponse

import pillion
from pillion import Model, task
from pillion.runtimefile import Code, DesiredApplication
from pillion.server import Server
from pillion.server.settings import AdminSettings, GrpcSettings, HttpSettings, Settings
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SHOWN = {"metrics.on_data_port": True}


def _running(serving: pillion.Serving) -> float:
    for line in httpx.get(f"{serving.url}/metrics").text.splitlines():
        if line.startswith("pillion_application_requests_in_flight{"):
            return float(line.rpartition(" ")[2])
    raise AssertionError("the metric is not there")


def test_a_plain_function_of_fastapi_holds_its_place_for_as_long_as_its_thread_runs() -> None:
    app, go = FastAPI(), threading.Event()

    @app.get("/")
    def handle() -> str:
        go.wait(100)
        return "late"

    with pillion.serve(app, blocking=False, route_prefix="/app", settings=SHOWN) as serving:
        url = f"{serving.url}/app"
        assert 504 == httpx.get(url, headers={"x-request-timeout-seconds": "1"}).status_code
        assert 1 == _running(serving)
        go.set()
        until_now(lambda: _running(serving) == 0)
        assert "late" == httpx.get(url).json()


def test_bodies_of_applications_are_counted_among_those_in_memory() -> None:
    begun, go = threading.Event(), threading.Event()

    async def handle(request: pillion.Request) -> int:
        size = len(await request.body())
        begun.set()
        while not go.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.005)
        return size

    settings: dict[str, Any] = {"limits.max_body_bytes_in_flight": 300_000}
    with pillion.serve(handle, blocking=False, settings=settings) as serving, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, serving.url, content=b"x" * 200_000, timeout=30)
        assert begun.wait(60)
        refused = httpx.post(serving.url, content=b"x" * 200_000)
        assert 429 == refused.status_code
        assert "limits.max_body_bytes_in_flight" in refused.json()["error"]
        go.set()
        assert 200_000 == first.result().json()
        assert 200_000 == httpx.post(serving.url, content=b"x" * 200_000).json()


def test_a_range_of_a_file_is_not_compressed(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(b"0123456789" * 5000)

    async def handle(request: pillion.Request) -> FileResponse:
        answer = FileResponse(file)
        if request.url.path != "/":
            answer.headers.append("cache-control", "no-transform")
            answer.headers.append("cache-control", "max-age=5")
        return answer

    with pillion.serve(handle, blocking=False) as serving:
        wanted = {"accept-encoding": "gzip", "range": "bytes=10-30009"}
        part = httpx.get(serving.url, headers=wanted)
        assert (206, b"0123456789" * 3000) == (part.status_code, part.content)
        assert "content-encoding" not in part.headers
        whole = httpx.get(serving.url, headers={"accept-encoding": "gzip"})
        assert "gzip" == whole.headers["content-encoding"]
        assert f"W/{part.headers['etag']}" == whole.headers["etag"]  # the bytes are others
        assert "accept-ranges" not in whole.headers
        left = httpx.get(f"{serving.url}/as-it-is", headers={"accept-encoding": "gzip"})
        assert ("content-encoding" in left.headers, part.headers["etag"]) == (False, left.headers["etag"])


class Long(Model):
    """Takes longer than who asks it has."""

    def load(self) -> None:
        """Nothing to load."""

    @task
    async def work(self) -> str:
        """Takes its time."""
        await asyncio.sleep(2)
        return "done"


def test_a_shielded_call_is_not_ended_by_the_time_of_its_request() -> None:
    ended: list[object] = []

    async def handle() -> None:
        async def call() -> None:
            try:
                ended.append(await pillion.models["long"].task("work", shield=True))
            except BaseException as error:
                ended.append(error)
                raise

        await asyncio.shield(asyncio.ensure_future(call()))

    with pillion.serve(Long, handle, blocking=False, route_prefix="/app") as serving:
        headers = {"x-request-timeout-seconds": "1"}
        assert 504 == httpx.get(f"{serving.url}/app", headers=headers).status_code
        until_now(lambda: bool(ended))
    assert ["done"] == ended


def test_a_request_that_waited_for_its_place_does_not_make_the_next_wait_longer() -> None:
    go, begun = threading.Event(), threading.Event()

    async def handle(request: pillion.Request) -> None:
        if request.url.path == "/wait":
            begun.set()
            while not go.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.005)

    settings: dict[str, Any] = {"limits.max_in_flight": 1, "limits.max_queue": 40, **SHOWN}
    with pillion.serve(handle, blocking=False, settings=settings) as serving, ThreadPoolExecutor(45) as pool:
        for _ in range(50):
            httpx.get(serving.url)
        first = pool.submit(httpx.get, f"{serving.url}/wait", timeout=30)
        assert begun.wait(60)
        waiting = [pool.submit(httpx.get, serving.url, timeout=30) for _ in range(40)]
        until_now(lambda: _metric(serving, "pillion_application_queue_depth") == 40)
        time.sleep(1.0)  # what they wait, which is not what they take
        go.set()
        assert {200} == {one.result().status_code for one in (first, *waiting)}
        go.clear()
        begun.clear()
        first = pool.submit(httpx.get, f"{serving.url}/wait", timeout=30)
        assert begun.wait(60)
        waiting = [pool.submit(httpx.get, serving.url, timeout=30) for _ in range(40)]
        until_now(lambda: _metric(serving, "pillion_application_queue_depth") == 40)
        refused = httpx.get(serving.url)
        go.set()
        assert 429 == refused.status_code
        assert int(refused.headers["retry-after"]) <= 10


def _metric(serving: pillion.Serving, name: str) -> float:
    for line in httpx.get(f"{serving.url}/metrics").text.splitlines():
        if line.startswith(f"{name}{{"):
            return float(line.rpartition(" ")[2])
    return 0.0


def _server(app: object) -> Server:
    settings = Settings(http=HttpSettings(port=0), grpc=GrpcSettings(port=0), admin=AdminSettings(port=0))
    wanted = DesiredApplication(name="app", code=Code(module="app", folder=""), route_prefix="/")
    return Server(settings, applications=[wanted], objects={"app": app})


def test_a_lifespan_that_hangs_does_not_keep_a_stop_waiting() -> None:
    begun = threading.Event()

    @contextlib.asynccontextmanager
    async def hangs(_: FastAPI) -> AsyncIterator[None]:
        begun.set()
        await asyncio.sleep(600)
        yield

    server = _server(FastAPI(lifespan=hangs))
    starting = threading.Thread(target=server.start, args=(False,), daemon=True)
    starting.start()
    assert begun.wait(60)
    stopping = threading.Thread(target=server.stop, args=(100,), daemon=True)
    stopping.start()
    stopping.join(60)
    assert not stopping.is_alive()
    starting.join(60)
    assert not starting.is_alive()


def test_a_lifespan_has_time_to_end_however_long_requests_take() -> None:
    begun, ended = threading.Event(), threading.Event()

    @contextlib.asynccontextmanager
    async def slow(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.sleep(1.5)
        ended.set()

    app = FastAPI(lifespan=slow)

    @app.get("/")
    async def handle() -> None:
        begun.set()
        await asyncio.sleep(600)

    serving = pillion.serve(app, blocking=False)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(httpx.get, serving.url, timeout=60)
        assert begun.wait(60)
        serving.stop(10)
        with contextlib.suppress(httpx.HTTPError):
            asking.result()
    assert ended.is_set()


def test_applications_stay_ready_when_the_last_model_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(
        "import pillion\n\nclass Mood(pillion.Model):\n    def load(self): ...\n\n"
        "    @pillion.task\n    def say(self, text: str) -> str:\n        return text\n\n"
        "async def app():\n    return 'here'\n"
    )
    code = f"{{module: '{tmp_path / 'service.py'}', folder: '{tmp_path}', className: %s}}"
    head = "apiVersion: runtime.pillion.dev/v1\n"
    applications = f"applications:\n- {{name: app, code: {code % 'app'}}}\n"
    models = f"models:\n- {{name: mood, path: '', format: python, code: {code % 'Mood'}}}\n"
    config = tmp_path / "runtime.yaml"
    config.write_text(head + applications + models)
    ports = Settings(http=HttpSettings(port=0), grpc=GrpcSettings(port=0), admin=AdminSettings(port=0))
    with Server(ports, config=config) as server:
        until_now(server.ready)
        assert ["mood"] == [status.name for status in server.statuses()]
        config.write_text(head + applications + "models: []\n")
        until_now(lambda: not server.statuses())
        assert "" == server.unready_reason()


STUCK = """
import threading, time
from fastapi import FastAPI
app = FastAPI()

@app.get("/framework")
def framework():
    time.sleep(600)

@app.get("/")
def quick():
    return "quick"
"""


def test_a_thread_that_is_stuck_does_not_keep_the_process(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(textwrap.dedent(STUCK))
    command = [sys.executable, "-m", "pillion.cli.main", "serve", "stuck.py:app", "--http-port", "0"]
    command += ["--grpc-port", "0", "--admin-port", "0", "--route-prefix", "/app"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = ""
        for line in process.stdout:
            if line.startswith("application app: "):
                url = line.split()[-1]
                break
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{url}/framework", timeout=0.5)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(60)
    finally:
        process.kill()
        process.communicate()


class Greeter:
    """Greets by the words of another."""

    def __init__(self, word: object, *, mark: str = "") -> None:
        self.word = word
        self.mark = mark

    async def __call__(self) -> str:
        """Greet."""
        return f"{self.word}{self.mark}"


class Word:
    """What is said."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


async def greet(request: pillion.Request, *, word: str) -> str:
    """The same as a function."""
    return f"{word} {request.url.path}"


async def alone(word: str) -> str:
    """The same without a request."""
    return word


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (pillion.bind(Greeter, pillion.bind(Word, "hello"), mark="!"), "hello!"),
        (pillion.bind(greet, word="hello"), "hello /app/x"),
        (pillion.bind(alone, word="hello"), "hello"),
        (pillion.bind(alone, "hello"), "hello"),
    ],
)
def test_handlers_are_bound_to_their_arguments(bound: Any, expected: str) -> None:
    with pillion.serve(bound, blocking=False, route_prefix="/app") as serving:
        assert expected == httpx.get(f"{serving.url}/app/x").text


class Mood(Model):
    """Another model, which the application holds."""

    good = 0

    def load(self) -> None:
        """Learn what is good."""
        self.good = 1


class Trained(Model):
    """Needs files, whose path its owner knows."""

    found = "nothing"

    def load(self, artifact: str) -> None:
        """Read them."""
        self.found = artifact


class Slow(Model):
    """Loads in a way that no model does."""

    async def load(self) -> None:  # type: ignore[override]  # as users do it
        """Never run."""


async def owner(model: Trained, request: pillion.Request) -> str:
    before = model.found
    model.load(request.url.path)
    return f"{before}, {model.found}"


class Several:
    """Has others in every place that an argument has."""

    def __init__(self, first: object, several: list[object], named: dict[str, object], pair: tuple[Mood, int]) -> None:
        self.first, self.several, self.named, self.pair = first, several, named, pair

    async def __call__(self) -> object:
        """What they are."""
        same = self.first is self.several[0] is self.named["first"]
        return [same, str(self.several[1]), self.pair[0].good, self.pair[1]]


async def test_what_is_bound_is_built_wherever_it_is_and_once() -> None:
    word = pillion.bind(Word, "shared")
    arguments = [word, [word, pillion.bind(Word, "own")], {"first": word}, (pillion.bind(Mood), 2)]
    async with pillion.bind(Several, *arguments).test() as tester:
        assert [True, "own", 1, 2] == (await tester.get("/")).json()
    plain: list[object] = [1]
    async with pillion.bind(Several, word, plain, {}, ()).test() as tester:
        assert tester.instance.several is plain  # nothing in it is bound, so it is the caller's own


async def test_a_bound_model_that_needs_an_artifact_is_its_owners_to_load_and_an_async_load_is_told() -> None:
    async with pillion.bind(owner, pillion.bind(Trained)).test() as tester:
        assert "nothing, /files" == (await tester.get("/files")).text
    with pytest.raises(Exception, match=r"Slow\.load: has to be a plain method, not async"):
        async with pillion.bind(owner, pillion.bind(Slow)).test():
            pass


def test_arguments_that_do_not_fit_are_told_where_they_are_bound() -> None:
    with pytest.raises(TypeError, match="word"):
        pillion.bind(Greeter)
    with pytest.raises(TypeError, match="neither"):
        pillion.bind(Greeter("x"))
