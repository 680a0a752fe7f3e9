"""``pillion.serve(app, workers=N)``: contexts, stopping from within, and replacing the workers one by one."""

from __future__ import annotations

import contextlib
import logging
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import pillion
from pillion.server.failures import StartError
from tests.integration.own_python.program import failing, serving
from tests.integration.server.process import environment
from tests.ports import free_port
from tests.processes import alive
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOP = """
import asyncio
import contextlib
import os
from pathlib import Path

import pillion
from fastapi import FastAPI, Request

FOLDER = Path(__file__).parent


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.greeting = f"of {app.worker_context['name']}"
    yield {"from_lifespan": app.worker_context["name"]}


app = FastAPI(lifespan=lifespan)


@app.get("/who")
def who(request: Request) -> dict:
    return {
        "pid": os.getpid(),
        "attribute": app.worker_context,
        "state": request.state.worker_context,
        "from_lifespan": request.state.from_lifespan,
        "greeting": app.state.greeting,
        "version": 1,
    }


@app.get("/slow/{name}")
async def slow(name: str) -> int:
    (FOLDER / f"{name}.begun").touch()
    while not (FOLDER / name).exists():
        await asyncio.sleep(0.01)
    return os.getpid()


@app.post("/stop")
async def stop() -> str:
    await pillion.stop()
    return "stopping"


@app.post("/stop-other")
def stop_other() -> str:
    pillion.stop("other")


class Plain:
    async def __call__(self) -> str:
        return self.worker_context


class Slotted:
    __slots__ = ()

    async def __call__(self, scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["state"]["worker_context"].encode()})
"""
_PROGRAM = """
import pillion

LOG = {
    "handlers": {"own": {"class": "logging.FileHandler", "filename": "own.log"}},
    "root": {"level": "INFO", "handlers": ["own"]},
}

if __name__ == "__main__":
    pillion.serve(
        "shop:app", workers=2, worker_contexts=[{"name": "left"}, {"name": "right"}],
        port=PORT, grpc_port=0, settings={"admin.port": 0, "drain.grace_seconds": 60}, log_config=LOG,
    )
    print("returned", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(_SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)  # another test's module of that name
    return tmp_path


@contextlib.contextmanager
def two(folder: Path, *, terminal: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The program above, and its URL, once both workers answer."""
    port = free_port()
    (folder / "program.py").write_text(_PROGRAM.replace("PORT", str(port)))
    own_terminal = ["setsid", "--ctty"] if terminal is not None else ["setsid"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*own_terminal, sys.executable, "program.py"],
            cwd=folder,
            env=environment(),
            stdin=terminal,
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _both(url, process, folder)
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _seen(url: str, process: subprocess.Popen[bytes], folder: Path) -> dict[str, int]:
    """The workers that answer now, by the names of their contexts."""
    assert process.poll() is None, (folder / "log").read_text()
    found: dict[str, int] = {}
    for _ in range(24):
        try:
            answer = httpx.get(f"{url}/who", timeout=60).raise_for_status().json()
        except httpx.TransportError:
            return {}
        assert answer["attribute"] == answer["state"]
        assert answer["from_lifespan"] == answer["attribute"]["name"]
        found[answer["attribute"]["name"]] = answer["pid"]
    return found


def _both(url: str, process: subprocess.Popen[bytes], folder: Path) -> dict[str, int]:
    """The same, once both have answered: the kernel gives connections to whom it likes."""
    found: dict[str, int] = {}

    def both() -> bool:
        found.update(_seen(url, process, folder))
        return len(found) == 2

    until_now(both, 90)
    return found


def test_each_worker_has_its_own_context_before_its_lifespan_and_again_when_it_is_replaced(folder: Path) -> None:
    with two(folder) as (process, url):
        before = _both(url, process, folder)
        os.kill(before["left"], signal.SIGKILL)
        until_now(lambda: _seen(url, process, folder).get("left", before["left"]) != before["left"], 60)
        assert before["right"] == _both(url, process, folder)["right"]


def test_stop_from_within_is_answered_lets_requests_end_and_serve_returns(folder: Path) -> None:
    with two(folder) as (process, url), httpx.Client(timeout=30) as other:
        answers: list[int] = []
        held = threading.Thread(target=lambda: answers.append(other.get(f"{url}/slow/held").status_code))
        held.start()
        until_now((folder / "held.begun").exists)
        answer = httpx.post(f"{url}/stop", timeout=60)
        assert (200, "stopping") == (answer.status_code, answer.json())
        (folder / "held").touch()
        held.join()
        assert [200] == answers
        assert 0 == process.wait(30)
        assert "returned" in (folder / "log").read_text()


def test_a_signal_after_stop_from_within_is_the_first_and_cuts_nothing(folder: Path) -> None:
    with two(folder) as (process, url), httpx.Client(timeout=30) as other:
        answers: list[int] = []
        held = threading.Thread(target=lambda: answers.append(other.get(f"{url}/slow/held").status_code))
        held.start()
        until_now((folder / "held.begun").exists)
        httpx.post(f"{url}/stop", timeout=60).raise_for_status()
        process.send_signal(signal.SIGTERM)
        until_now(lambda: "received SIGTERM" in (folder / "own.log").read_text())
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        (folder / "held").touch()
        held.join()
        assert [200] == answers
        assert 0 == process.wait(30)


@pytest.mark.parametrize("workers", [1, 2])
def test_neither_does_the_end_of_the_block_and_a_grace_of_0_cuts_at_once(folder: Path, workers: int) -> None:
    options = {"worker_contexts": [{"name": "x"}] * workers, "settings": {"drain.grace_seconds": 60}}
    server = pillion.serve("shop:app", workers=workers, blocking=False, **options)  # type: ignore[call-overload]  # not told apart
    answers: list[int] = []
    with httpx.Client(timeout=30) as other:

        def ask(name: str) -> threading.Thread:
            asking = threading.Thread(target=lambda: answers.append(other.get(f"{server.url}/slow/{name}").status_code))
            asking.start()
            until_now((folder / f"{name}.begun").exists)
            return asking

        held, never = ask("held"), ask("never")
        pillion.stop(server.server_id)
        leaving = threading.Thread(target=server.stop)
        leaving.start()
        leaving.join(1)
        assert leaving.is_alive()
        (folder / "held").touch()
        held.join()
        assert [200] == answers
        began = time.monotonic()
        server.stop(0)
        leaving.join()
        never.join()
        assert [200, 503] == answers
        assert 50 > time.monotonic() - began


def test_hanging_up_replaces_the_workers_one_by_one_without_a_failed_request(folder: Path) -> None:
    with two(folder) as (process, url):
        before = _both(url, process, folder)
        source = (folder / "shop.py").read_text()
        (folder / "shop.py").write_text(source.replace('"version": 1', '"version": 2'))
        failed: list[str] = []
        versions: set[int] = set()
        over = threading.Event()

        def ask() -> None:
            while not over.wait(0.01):
                answer = httpx.get(f"{url}/who", timeout=60)
                if answer.status_code == 200:
                    versions.add(answer.json()["version"])
                else:
                    failed.append(answer.text)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        until_now(lambda: bool(versions))
        with httpx.Client(timeout=60) as other:
            held: list[int] = []
            waiting = threading.Thread(target=lambda: held.append(other.get(f"{url}/slow/held").json()))
            waiting.start()
            until_now((folder / "held.begun").exists)
            process.send_signal(signal.SIGHUP)
            until_now(lambda: not set(_seen(url, process, folder).values()) & set(before.values()), 90)
            assert [] == held
            (folder / "held").touch()
            waiting.join()
        until_now(lambda: 2 in versions)
        over.set()
        asking.join()
        assert held[0] in before.values()
        assert [] == failed
        assert {1, 2} == versions
        assert {"left", "right"} == set(_both(url, process, folder))
        until_now(lambda: not any(alive(pid) for pid in before.values()))


def test_a_successor_that_does_not_come_up_leaves_the_workers_as_they_are(folder: Path) -> None:
    with two(folder) as (process, url):
        before = _both(url, process, folder)
        (folder / "shop.py").write_text("raise OSError('the disk is on fire')\n" + _SHOP)
        process.send_signal(signal.SIGHUP)
        until_now(lambda: "were replaced" in (folder / "own.log").read_text(), 60)
        log = (folder / "own.log").read_text()
        assert 2 == log.count("application ready")  # of the workers, by the program's own configuration
        assert "stays as it is" in log
        assert "0 of 2 front workers were replaced" in log
        assert "the disk is on fire" in log
        assert before == _both(url, process, folder)


def test_the_end_of_its_terminal_ends_the_server(folder: Path) -> None:
    controlling, terminal = pty.openpty()
    with two(folder, terminal=terminal) as (process, url):
        os.close(terminal)
        workers = _both(url, process, folder).values()
        os.close(controlling)
        assert 0 == process.wait(30)
        until_now(lambda: not any(alive(pid) for pid in workers))


def test_workers_end_when_the_program_is_killed(folder: Path) -> None:
    with two(folder) as (process, url):
        workers = _both(url, process, folder).values()
        process.kill()
        until_now(lambda: not any(alive(pid) for pid in workers))


def test_beside_a_program_workers_are_stopped_by_the_handle(folder: Path) -> None:
    contexts = [{"name": "left"}, {"name": "right"}]
    with pillion.serve("shop:app", workers=2, worker_contexts=contexts, blocking=False) as server:
        pid = httpx.get(f"{server.url}/who", timeout=60).json()["pid"]
        assert os.getpid() != pid
    until_now(lambda: not alive(pid))
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_a_failure_of_every_worker_is_raised_in_the_caller_and_leaves_none(folder: Path) -> None:
    (folder / "shop.py").write_text("raise OSError('the disk is on fire')\napp = None\n")
    with pytest.raises(StartError, match="the disk is on fire"):
        pillion.serve("shop:app", workers=2, blocking=False)
    until_now(lambda: "pillion-supervisor" not in {thread.name for thread in threading.enumerate()})


@pytest.mark.parametrize("app", ["Plain", "Slotted"])
def test_one_process_gives_its_context_to_classes_too_and_by_the_state_alone(folder: Path, app: str) -> None:
    with pillion.serve(f"shop:{app}", worker_contexts=["hello"], blocking=False) as server:
        assert "hello" == httpx.get(server.url).text


def test_the_backlog_is_the_listening_queue_and_logging_is_left_alone(folder: Path) -> None:
    loggers = (logging.root, logging.getLogger("pillion"), logging.getLogger("uvicorn.error"))
    before = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    with pillion.serve("shop:Plain", worker_contexts=["x"], blocking=False, backlog=7) as server:
        assert before == [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
        assert {7} == _queues(int(server.url.rpartition(":")[2]))


def _queues(port: int) -> set[int]:
    """How many connections wait to be accepted at most, of each socket of this process that listens on the port."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        if not descriptor.is_socket():
            continue
        with socket.socket(fileno=os.dup(int(descriptor.name))) as listener:
            if listener.family != socket.AF_INET or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                continue
            if listener.getsockname()[1] == port:
                info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
                found.add(struct.unpack_from("=I", info, 28)[0])  # tcpi_sacked, which has this for one that listens
    return found


def test_a_name_that_another_module_gives_is_an_application_where_contexts_say_so(folder: Path) -> None:
    (folder / "front.py").write_text("from shop import Plain as app\n")
    with pillion.serve("front:app", worker_contexts=["hello"], blocking=False) as server:
        assert "hello" == httpx.get(server.url).text


def test_a_context_that_only_the_program_knows_is_told_by_the_worker(folder: Path) -> None:
    (folder / "program.py").write_text(
        """
import pillion

class Own:
    pass

if __name__ == "__main__":
    pillion.serve("shop:app", workers=2, worker_contexts=[Own(), Own()], port=0, grpc_port=0, blocking=False)
"""
    )
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert 1 == done.returncode
    assert "cannot be read in the worker" in done.stderr
    assert "in a module that can be imported" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"workers": 2, "worker_contexts": [1]}, "worker_contexts has 1 entry and workers is 2"),
        ({"worker_contexts": [1, 2]}, "worker_contexts has 2 entries and workers is 1"),
        ({"worker_contexts": [threading.Lock()]}, r"worker_contexts\[0\] cannot be given to a process"),
        ({"worker_contexts": {"a": 1}}, "worker_contexts is a list with one entry for each worker, and not a dict"),
        ({"workers": 2, "worker_contexts": "ab"}, "worker_contexts is a list .* and not a str"),
        ({"workers": 0}, "workers is 0"),
        ({"workers": "2"}, "workers is '2': give the number of processes"),
        ({"log_config": {"handlers": {"x": {"class": "no.Handler"}}}}, "log_config: Unable to configure handler 'x': "),
        ({"log_config": "shop.ini"}, "log_config is a dict for logging.config.dictConfig, and not a str"),
        ({"server_id": ""}, "server_id is empty"),
        ({"server_options": {"port": 1}}, "server_options: port is given in another way: port="),
        ({"server_options": {"loop": "uvloop"}}, "there is no 'loop'; there are timeout_keep_alive"),
    ],
)
def test_bad_arguments_are_told_by_name(arguments: dict[str, object], told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        pillion.serve("shop:app", blocking=False, **arguments)  # type: ignore[call-overload]  # they are wrong


def test_an_object_is_refused_with_several_workers_and_the_remedy_named() -> None:
    async def app() -> str:
        return "hello"

    with pytest.raises(TypeError, match=r"name it, as in pillion.serve\('module:attribute', workers=2\)"):
        pillion.serve(app, workers=2)


def test_contexts_without_an_application_are_refused() -> None:
    class Mood(pillion.Model):
        pass

    with pytest.raises(TypeError, match="worker_contexts are an application's"):
        pillion.serve(Mood, worker_contexts=[1])


def test_what_names_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="'shop' names no application: write 'module:attribute'"):
        pillion.serve("shop")


def test_servers_have_ids_and_are_stopped_by_them(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="no server with server_id '0' runs in this process"):
        pillion.stop()
    options = {"blocking": False, "worker_contexts": ["x"]}
    with pillion.serve("shop:Plain", **options) as first:  # type: ignore[call-overload]  # not told apart
        with pillion.serve("shop:Plain", **options) as second:  # type: ignore[call-overload]  # as above
            assert ("0", "1") == (first.server_id, second.server_id)
            with pytest.raises(ValueError, match="a server with server_id '1' runs in this process"):
                pillion.serve("shop:Plain", server_id="1", **options)  # type: ignore[call-overload]  # as above
            with pytest.raises(RuntimeError, match=r"no server with server_id 'other'.*there is '0', '1'"):
                pillion.stop("other")
            pillion.stop("1")
            until_now(lambda: not _answers(second.url))
        assert _answers(first.url)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_the_command_reads_contexts_from_a_file(folder: Path) -> None:
    (folder / "contexts.yaml").write_text("- {name: left}\n- {name: right}\n")
    with serving(folder, "shop.py:app", "--workers", "2", "--worker-context", "contexts.yaml") as program:
        answer = httpx.get(program.url("/who"), timeout=60).json()
        assert answer["attribute"]["name"] in ("left", "right")


def test_hanging_up_reads_the_file_of_contexts_again_and_a_bad_one_changes_nothing(folder: Path) -> None:
    file = folder / "contexts.yaml"
    file.write_text("- {name: left}\n- {name: right}\n")
    with serving(folder, "shop.py:app", "--workers", "2", "--worker-context", file.name) as program:
        file.write_text("- {name: left}\n")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for("the workers stay as they are: --worker-context has 1 entry and workers is 2")
        file.write_text("- {name: up}\n- {name: down}\n")
        program.process.send_signal(signal.SIGHUP)
        names: set[str] = set()

        def both() -> bool:
            names.add(httpx.get(program.url("/who"), timeout=60).json()["attribute"]["name"])
            return names >= {"up", "down"}

        until_now(both, 60)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2, 3]", "--worker-context has 3 entries and workers is 2"),
        ("{a: 1}", "has to be a list with an entry for each worker, and is of type dict"),
        ("{a: ", "is neither JSON nor YAML"),
    ],
)
def test_a_bad_file_of_contexts_is_told(folder: Path, text: str, told: str) -> None:
    (folder / "contexts.yaml").write_text(text)
    code, message = failing(folder, "shop.py:app", "--workers", "2", "--worker-context", "contexts.yaml")
    assert 2 == code
    assert told in message
