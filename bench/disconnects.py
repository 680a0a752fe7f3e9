"""Clients that leave their streams: how soon the code ends, and what is left behind.

``python -m bench.disconnects [--streams N]`` writes ``bench/results/disconnects.md`` and ``.json``. A real ``pillion
serve`` has two tasks that stream without end, one in a thread and one on the event loop. Clients read the first item
and leave: over server-sent events, WebSocket and gRPC, as one does that ends properly (closes, cancels) and as one does
that breaks off (a reset, a channel that is closed), eight at a time, in rounds of all of these. The code notes when it
ends, by the clock that the clients note their leaving by. After a first round, which makes what a server keeps for
good, its descriptors, threads, tasks of asyncio, calls and memory are noted, and again when all clients have closed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from websockets.sync.client import connect

from bench.process import free_port, resident_mib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LONGEST", "MEMORY", "Server", "faults", "run"]

RESULTS = Path(__file__).parent / "results"
SERVICE = """
import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator

from pillion import Model, task


class Story(Model):
    def load(self, artifact=None):
        self.ended = {}

    @contextlib.contextmanager
    def noted(self, name):
        try:
            yield
        finally:
            self.ended[name] = time.monotonic()

    @task
    def thread(self, name: str) -> Iterator[str]:
        with self.noted(name):
            while True:
                yield name
                time.sleep(0.02)

    @task
    async def loop(self, name: str) -> AsyncIterator[str]:
        with self.noted(name):
            while True:
                yield name
                await asyncio.sleep(0.02)

    @task
    async def ends(self) -> dict[str, float]:
        return self.ended

    @task
    async def clear(self) -> dict[str, int]:
        self.ended.clear()
        return {"tasks": len(asyncio.all_tasks()), "threads": threading.active_count()}
"""
TASKS = ("thread", "loop")
AT_ONCE = 8
LONGEST = 1.0
"""Seconds from a client's leaving to the end of the code, at most."""
MEMORY = 16.0
"""MiB that the server may have grown by, however many left it: more than this is a leak of kilobytes a stream."""
MORE = {"threads": AT_ONCE}
"""What the server may hold more of: its pool of threads keeps as many as ever worked at once."""
QUIET = 40.0
"""Seconds for what is left to become what it was."""


class Server:
    """``pillion serve`` with the two tasks."""

    def __init__(self, folder: Path) -> None:
        (folder / "service.py").write_text(SERVICE)
        self.ports = {name: free_port() for name in ("http", "grpc", "admin")}
        flags = [flag for name, port in self.ports.items() for flag in (f"--{name}-port", str(port))]
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pillion.cli.main", "serve", "service.py:Story", *flags],
                cwd=folder, env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""}, stdout=log, stderr=log,
            )  # fmt: skip

    def __enter__(self) -> Self:
        waited_for(lambda: self.process.poll() is not None or self._ready(), 60)
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended with {self.process.returncode}")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def _ready(self) -> bool:
        try:
            self.read("admin", "/readyz")
        except OSError:
            return False
        return True

    def read(self, port: str, path: str, body: object = None) -> bytes:
        """One answer, on a connection that is closed with it."""
        data = None if body is None else json.dumps(body).encode()
        address = f"http://127.0.0.1:{self.ports[port]}{path}"
        request = urllib.request.Request(address, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def ask(self, task: str) -> dict[str, Any]:
        """One of the tasks that tell about the streams."""
        answer: dict[str, Any] = json.loads(self.read("http", f"/{task}", {}))
        return answer

    def gauge(self, name: str) -> int:
        """A metric, summed over its labels."""
        lines = self.read("admin", "/metrics").decode().splitlines()
        return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{")))

    def held(self) -> dict[str, int]:
        """What a stream that leaked would add to."""
        return {
            "descriptors": len(list(Path(f"/proc/{self.process.pid}/fd").iterdir())),
            "in flight": self.gauge("pillion_in_flight"),
            "abandoned": self.gauge("pillion_abandoned_calls"),
            **self.ask("clear"),
        }


def waited_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def leave_events(server: Server, task: str, name: str, *, breaks_off: bool) -> float:
    """Leave server-sent events; when, by the monotonic clock."""
    content = json.dumps({"name": name}).encode()
    head = f"POST /{task} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=60) as connection:
        connection.sendall(head.encode() + content)
        received = b""
        while name.encode() not in received:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError(f"the server ended the stream: {received.decode()}")
            received += piece
        if breaks_off:
            _resets(connection)
        return time.monotonic()


def leave_websocket(server: Server, task: str, name: str, *, breaks_off: bool) -> float:
    """The same over WebSocket."""
    connection = connect(f"ws://127.0.0.1:{server.ports['http']}/{task}", proxy=None, compression=None)
    try:
        connection.send(json.dumps({"name": name}))
        connection.recv(timeout=60)
        if breaks_off:
            _resets(connection.socket)
            left = time.monotonic()
            connection.socket.shutdown(socket.SHUT_RDWR)
            return left
        return time.monotonic()
    finally:
        connection.close()


def _resets(connection: socket.socket) -> None:
    """Have its closing end the connection at once, with what is on its way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class GrpcClient:
    """Leaves streams over gRPC, as reflection describes them."""

    def __init__(self, server: Server) -> None:
        self.address = f"127.0.0.1:{server.ports['grpc']}"
        with grpc.insecure_channel(self.address) as channel:
            pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            methods = pool.FindServiceByName("story.StoryService").methods_by_name
            self.messages = {
                task: [message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type)]
                for task in TASKS
                for method in [methods[f"ServerStreaming{task.title()}Predict"]]
            }

    def leave(self, server: Server, task: str, name: str, *, breaks_off: bool) -> float:
        """Cancel the call, or close the channel below it."""
        del server
        request, response = self.messages[task]
        # Not the connection that other channels of this process have.
        own = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self.address, own) as channel:
            call = channel.unary_stream(
                f"/story.StoryService/ServerStreaming{task.title()}Predict",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )(request(name=name), timeout=60)
            next(call)
            left = time.monotonic()
            if not breaks_off:
                call.cancel()
            return left


def _cases(server: Server) -> Iterator[tuple[str, Callable[[str], float]]]:
    """Every way to leave, with its name."""
    ways: dict[str, Callable[..., float]] = {
        "SSE": leave_events, "WebSocket": leave_websocket, "gRPC": GrpcClient(server).leave,
    }  # fmt: skip
    for (transport, leave), task, breaks_off in product(ways.items(), TASKS, (False, True)):
        name = f"{transport}, {task}, {'breaks off' if breaks_off else 'ends'}"
        yield name, partial(leave, server, task, breaks_off=breaks_off)


def leave_all(server: Server, cases: list[tuple[str, Callable[[str], float]]], streams: int) -> dict[str, list[float]]:
    """So many streams over all ways in turn; for each way the seconds from a client's leaving to the end of the code.

    Infinite for one that has not ended.
    """
    with ThreadPoolExecutor(AT_ONCE) as clients:
        left = {
            f"{case}/{number}": clients.submit(leave, f"{case}/{number}")
            for number in range(streams)
            for case, leave in [cases[number % len(cases)]]
        }
        moments = {name: future.result() for name, future in left.items()}
    waited_for(lambda: server.ask("ends").keys() >= moments.keys(), QUIET)
    ended = server.ask("ends")
    took = defaultdict(list)
    for name, moment in moments.items():
        took[name.partition("/")[0]].append(ended.get(name, float("inf")) - moment)
    return took


def run(folder: Path, streams: int) -> dict[str, Any]:
    """Do all of it; what was counted."""
    with Server(folder) as server:
        cases = list(_cases(server))
        leave_all(server, cases, len(cases) * AT_ONCE)
        waited_for(lambda: server.gauge("pillion_in_flight") == 0, QUIET)
        before = _looked(server, lambda looks: len(looks) >= 5 and all(look == looks[-1] for look in looks[-5:]))
        memory = resident_mib(server.process.pid)
        began = time.monotonic()
        took: dict[str, list[float]] = defaultdict(list)
        for start in range(0, streams, len(cases) * AT_ONCE):
            round_ = leave_all(server, cases, min(len(cases) * AT_ONCE, streams - start))
            for case, seconds in round_.items():
                took[case] += seconds
            server.ask("clear")
        lasted = time.monotonic() - began
        after = _looked(server, lambda looks: not _left(before, looks[-1]))
        return {
            "streams": streams,
            "seconds": round(lasted, 1),
            "took": dict(took),
            "before": before,
            "after": after,
            "memory_mib": [round(memory, 1), round(resident_mib(server.process.pid), 1)],
        }


def _looked(server: Server, enough: Callable[[list[dict[str, int]]], bool]) -> dict[str, int]:
    """What is held, by the look after which they are enough, or the last one in time.

    One look: its own connections may still be closing at the next.
    """
    looks: list[dict[str, int]] = []

    def look() -> bool:
        looks.append(server.held())
        return enough(looks)

    waited_for(look, QUIET)
    return looks[-1]


def faults(found: dict[str, Any], longest: float = LONGEST) -> list[str]:
    """What is not as it should be."""
    late = [
        f"{case}: {sum(one > longest for one in seconds)} of {len(seconds)} ran on for more than {longest:g} s"
        for case, seconds in found["took"].items()
        if max(seconds) > longest
    ]
    left = _left(found["before"], found["after"])
    memory = found["memory_mib"]
    grown = [f"memory: {memory[0]} MiB before, {memory[1]} after"] if memory[1] - memory[0] > MEMORY else []
    return late + left + grown


def _left(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """What there is more of than before."""
    more = (name for name in before if after[name] > before[name] + MORE.get(name, 0))
    return [f"{name}: {before[name]} before, {after[name]} after" for name in more]


def report(found: dict[str, Any]) -> str:
    """Markdown."""
    rows = [
        f"| {case} | {len(seconds)} | {median(seconds) * 1000:.0f} | {max(seconds) * 1000:.0f} |"
        for case, seconds in found["took"].items()
    ]
    held = [f"| {name} | {found['before'][name]} | {found['after'][name]} |" for name in found["before"]]
    memory = found["memory_mib"]
    where = f"Python {platform.python_version()}, {os.cpu_count()} CPUs"
    lines = [
        "# Streams whose clients leave",
        "",
        (__doc__ or "").partition("\n\n")[2].strip(),
        "",
        f"{where}: {found['streams']} streams in {found['seconds']} s.",
        "",
        f"From a client's leaving to the end of the code, milliseconds; at most {LONGEST * 1000:.0f} are allowed:",
        "",
        "| client, code, how it leaves | streams | median | longest |",
        "|---|---|---|---|",
        *rows,
        "",
        "| what the server holds | before | after |",
        "|---|---|---|",
        *held,
        f"| memory, MiB | {memory[0]} | {memory[1]} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pillion-disconnects-") as folder:
        found = run(Path(folder), options.streams)
    (RESULTS / "disconnects.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "disconnects.md").write_text(report(found))
    print(report(found))
    for fault in faults(found):
        print(fault, file=sys.stderr)
    sys.exit(bool(faults(found)))


if __name__ == "__main__":
    main()
