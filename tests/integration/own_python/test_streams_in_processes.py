"""Streams of a class in worker processes over HTTP and gRPC: what arrives when, and how each of them ends."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.own_python.leaving import LONG, leave, leave_grpc
from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program

SERVICE = """
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pillion import Finish, Model, task

STEP = 0.02
CLOSED = Path(__file__).parent / "closed"


class Story(Model):
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x

    def explain(self, x: np.ndarray) -> dict[str, float]:
        return {"sum": float(x.sum())}

    def generate(self, prompt: str, max_tokens: int = 3) -> Iterator[str | Finish]:
        try:
            for place in range(max_tokens):
                yield f"{prompt}{place} "
                time.sleep(STEP)
            yield Finish("length", prompt_tokens=1, completion_tokens=max_tokens)
        except GeneratorExit:
            with CLOSED.open("a") as file:
                file.write(".")
            raise

    def embed(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text)] for text in texts])

    @task
    def count(self, to: int) -> Iterator[int]:
        for number in range(to):
            yield number

    @task
    def dies(self) -> Iterator[int]:
        yield os.getpid()
        time.sleep(60)
"""
STREAM = "/v2/models/story/generate_stream"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("streams")
    (made / "service.py").write_text(SERVICE)
    return made


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    with serving(folder, "service.py:Story", "--executor", "process", "--processes", "2") as program:
        yield program


def events(program: Program, path: str, body: object) -> list[tuple[Any, float]]:
    """The data of each event, and when it came."""
    found = []
    with httpx.stream("POST", program.url(path), json=body, timeout=30, trust_env=False) as response:
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "data":
                found.append((json.loads(value), time.monotonic()))
    return found


def test_each_piece_is_sent_when_it_is_made(program: Program) -> None:
    def seconds() -> float:
        found = events(program, STREAM, {"text_input": "a", "max_tokens": 5})
        assert ["a0 ", "a1 ", "a2 ", "a3 ", "a4 ", ""] == [data["text_output"] for data, _ in found]
        assert {"finish_reason": "length", "prompt_tokens": 1, "completion_tokens": 5} == found[-1][0]["details"]
        return found[3][1] - found[0][1]

    # Three steps of 20 ms, not all at the end; a reader that a busy machine lets wait finds them at once now and then.
    until_now(lambda: seconds() > 0.03)


def test_what_else_a_class_can_be_asked_is_answered(program: Program) -> None:
    assert list(range(1000)) == [data for data, _ in events(program, "/count", {"to": 1000})]
    status, answer = program.curl("/v1/models/story:explain", {"instances": [1, 2, 3.5]})
    assert (200, {"explanations": {"sum": 6.5}}) == (status, answer)
    status, answer = program.curl("/openai/v1/embeddings", {"model": "story", "input": ["a", "abc"]})
    assert (200, [[1.0], [3.0]]) == (status, [one["embedding"] for one in answer["data"]])
    status, answer = program.curl("/openai/v1/completions", {"model": "story", "prompt": "a", "max_tokens": 2})
    assert (200, "a0 a1 ") == (status, answer["choices"][0]["text"])


@pytest.mark.parametrize(
    "leave",
    [partial(leave, path=STREAM, body={"text_input": "a", "max_tokens": LONG}), leave_grpc],
    ids=["http", "grpc"],
)
def test_clients_that_leave_have_their_generators_closed_in_the_workers(
    program: Program, folder: Path, leave: Callable[[Program], None]
) -> None:
    closed = folder / "closed"
    before = len(closed.read_text()) if closed.exists() else 0
    for _ in range(10):
        leaving = [threading.Thread(target=leave, args=(program,)) for _ in range(2)]
        for one in leaving:
            one.start()
        for one in leaving:
            one.join()
    until_now(lambda: closed.exists() and len(closed.read_text()) == before + 20)
    until_now(lambda: program.gauge("pillion_in_flight") == program.gauge("pillion_abandoned_calls") == 0)
    assert 0 == program.gauge("pillion_worker_restarts_total")


def test_a_worker_that_dies_ends_its_stream_with_an_error(program: Program) -> None:
    found = []
    with httpx.stream("POST", program.url("/dies"), json={}, timeout=30, trust_env=False) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if len(found) == 1:
                    os.kill(found[0], signal.SIGKILL)
    assert "the worker process that computed this request ended" in found[-1]["details"]
    until_now(lambda: program.gauge("pillion_workers") == 2)
