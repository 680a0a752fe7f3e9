"""Streams of a class of one's own over HTTP: what arrives when, who leaves when, and how each of them ends."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.own_python.leaving import LONG, leave, leave_grpc
from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.own_python.program import Program

SERVICE = '''
import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pillion import Finish, Model, task

STEP = 0.02


class Story(Model):
    """Counts how its streams end."""

    def load(self) -> None:
        self.lock = threading.Lock()
        self.ends = {"closed": 0, "cancelled": 0, "complete": 0}

    def count(self, how: str) -> None:
        with self.lock:
            self.ends[how] += 1

    def generate(self, prompt: str, max_tokens: int = 3, fail_after: int = -1) -> Iterator[str | Finish]:
        if not prompt:
            raise ValueError("nothing to continue")
        try:
            for place in range(max_tokens):
                if place == fail_after:
                    raise RuntimeError("out of ideas")
                yield f"{prompt}{place} "
                time.sleep(STEP)
            self.count("complete")
            yield Finish("length", prompt_tokens=1, completion_tokens=max_tokens)
        except GeneratorExit:
            self.count("closed")
            raise

    @task
    async def tell(self, words: list[str], times: int = 1) -> AsyncIterator[str]:
        """Words, one by one."""
        try:
            for _ in range(times):
                for word in words:
                    yield word
                    await asyncio.sleep(STEP)
            self.count("complete")
        except asyncio.CancelledError:
            self.count("cancelled")
            raise

    @task
    def fill(self, size: int) -> Iterator[str]:
        """Texts without end."""
        while True:
            self.made = getattr(self, "made", 0) + 1
            yield "x" * size

    @task
    def seen(self) -> dict[str, int]:
        return {**self.ends, "made": getattr(self, "made", 0), "threads": threading.active_count()}
'''
STREAM = "/v2/models/story/generate_stream"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("streams")
    (folder / "service.py").write_text(SERVICE)
    with serving(folder, "service.py:Story") as program:
        yield program


def seen(program: Program) -> dict[str, int]:
    answer: dict[str, int] = httpx.post(program.url("/seen"), json={}, trust_env=False).json()
    return answer


def events(program: Program, path: str, body: object) -> list[tuple[str, Any, float]]:
    """Each event with its name, its data and when it came."""
    found = []
    name = "message"
    with httpx.stream("POST", program.url(path), json=body, timeout=30, trust_env=False) as response:
        assert "text/event-stream; charset=utf-8" == response.headers["content-type"]
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            if field == "data":
                found.append((name, json.loads(value), time.monotonic()))
    return found


def test_each_piece_is_sent_when_it_is_made(program: Program) -> None:
    def seconds() -> float:
        found = events(program, "/v2/models/story/generate_stream", {"text_input": "a", "max_tokens": 5})
        assert ["a0 ", "a1 ", "a2 ", "a3 ", "a4 ", ""] == [data["text_output"] for _, data, _ in found]
        assert {"finish_reason": "length", "prompt_tokens": 1, "completion_tokens": 5} == found[-1][1]["details"]
        return found[3][2] - found[0][2]

    # Three steps of 20 ms, not all at the end; a reader that a busy machine lets wait finds them at once now and then.
    until_now(lambda: seconds() > 0.03)


def test_a_text_can_be_had_as_a_whole(program: Program) -> None:
    status, answer = program.curl("/v2/models/story/versions/1/generate", {"text_input": "a", "id": "7"})
    details = {"finish_reason": "length", "prompt_tokens": 1, "completion_tokens": 3}
    named = {"model_name": "story", "model_version": "1", "text_output": "a0 a1 a2 ", "id": "7"}
    assert (200, named | {"details": details}) == (status, answer)


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("story/generate_stream", {"text_input": ""}, 400, "nothing to continue"),
        ("story/generate_stream", {}, 400, "text_input: is missing"),
        (
            "story/generate_stream",
            {"text_input": "a", "parameters": {"top_k": 1}},
            400,
            "top_k: the model does",
        ),
        ("story/generate", {"text_input": "a", "max_tokens": "x"}, 400, "max_tokens: "),
        ("story/generate", {"text_input": "a", "stream": True}, 400, "stream: "),
        ("nobody/generate_stream", {"text_input": "a"}, 404, "Request for unknown model"),
    ],
)
def test_what_is_known_before_the_first_piece_is_a_plain_error(
    program: Program, path: str, body: object, status: int, sentence: str
) -> None:
    answer = httpx.post(program.url(f"/v2/models/{path}"), json=body, trust_env=False)
    assert (status, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert sentence in answer.json()["error"]


def test_a_failure_after_it_is_an_event_after_the_pieces(program: Program) -> None:
    found = events(program, "/v2/models/story/generate_stream", {"text_input": "a", "fail_after": 2})
    assert ["a0 ", "a1 "] == [data["text_output"] for _, data, _ in found[:-1]]
    last = found[-1][1]
    assert ("model story/1 failed: RuntimeError: out of ideas (see the server's log)", "model_failed") == (
        last["error"],
        last["code"],
    )


def test_the_documentation_lists_what_it_can_be_asked(program: Program) -> None:
    described = program.curl("/openapi.json")[1]
    assert {"/v2/models/{model}/generate_stream", "/openai/v1/completions", "/tell"} <= described["paths"].keys()
    assert not {"/v1/chat/completions", "/v1/embeddings"} & described["paths"].keys()
    assert ["text/event-stream"] == list(described["paths"]["/tell"]["post"]["responses"]["200"]["content"])


def test_a_task_that_yields_is_a_stream_of_its_items(program: Program) -> None:
    found = events(program, "/tell", {"words": ["a", "b"]})
    assert [("message", "a"), ("message", "b")] == [(name, data) for name, data, _ in found]
    status, answer = program.curl("/tell", {"words": "a"})
    assert (422, True) == (status, answer["details"].startswith("words: "))


def test_a_deadline_ends_a_stream_with_an_error(program: Program) -> None:
    body = {"words": ["a"], "times": LONG}
    head = {"x-request-timeout-seconds": "1"}
    answer = httpx.post(program.url("/tell"), json=body, headers=head, timeout=30, trust_env=False)
    name, data = answer.text.strip().split("\n\n")[-1].split("\n")
    assert "event: error" == name
    assert (504, "the deadline passed while the model was running") == (
        json.loads(data.removeprefix("data: "))["code"],
        json.loads(data.removeprefix("data: "))["details"],
    )


@pytest.mark.parametrize(
    ("leave", "how"),
    [
        (
            partial(leave, path="/v2/models/story/generate_stream", body={"text_input": "a", "max_tokens": LONG}),
            "closed",
        ),
        (partial(leave, path="/tell", body={"words": ["a"], "times": LONG}), "cancelled"),
        (leave_grpc, "closed"),
    ],
    ids=["thread", "loop", "grpc"],
)
def test_a_hundred_clients_that_leave_end_their_code_and_leave_nothing_behind(
    program: Program, leave: Callable[[Program], None], how: str
) -> None:
    leave(program)  # what a first one makes for good, such as connections of the loop's, is not left behind by others
    until_now(lambda: program.gauge("pillion_in_flight") == program.gauge("pillion_abandoned_calls") == 0)
    before, open_before = seen(program)[how], _files(program)
    for _ in range(25):
        leaving = [threading.Thread(target=leave, args=(program,)) for _ in range(4)]
        for one in leaving:
            one.start()
        for one in leaving:
            one.join()
    until_now(lambda: seen(program)[how] == before + 100)
    until_now(lambda: program.gauge("pillion_in_flight") == 0 and program.gauge("pillion_abandoned_calls") == 0)
    until_now(lambda: _files(program) <= open_before)
    assert seen(program)["threads"] < 20


def _files(program: Program) -> int:
    return len(list(Path(f"/proc/{program.process.pid}/fd").iterdir()))


def test_a_client_that_does_not_read_makes_the_code_wait(program: Program) -> None:
    content = json.dumps({"size": 100_000}).encode()
    head = f"POST /fill HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", program.ports["http"]), timeout=60) as connection:
        connection.sendall(head.encode() + content)
        until_now(lambda: seen(program)["made"] > 5)
        settled = _settled(program)
        assert settled < 300  # what the kernel's buffers take, 16 in ours, and one on its way: not gigabytes
    until_now(lambda: program.gauge("pillion_in_flight") == 0)


def _settled(program: Program) -> int:
    """The items made, once five looks in a row find the same number."""
    looks: list[int] = []

    def same() -> bool:
        looks.append(seen(program)["made"])
        return len(looks) >= 5 and len(set(looks[-5:])) == 1

    until_now(same)
    return looks[-1]


@pytest.mark.parametrize(("grace", "signals"), [("30", 1), ("1", 1), ("30", 2)])
def test_a_stream_completes_in_the_grace_or_ends_with_an_error(tmp_path: Path, grace: str, signals: int) -> None:
    completes = (grace, signals) == ("30", 1)
    (tmp_path / "service.py").write_text(SERVICE)
    with serving(tmp_path, "service.py:Story", PILLION_DRAIN__GRACE_SECONDS=grace) as program:
        body = {"text_input": "a", "max_tokens": 100 if completes else LONG}
        found: list[dict[str, Any]] = []
        with httpx.stream(
            "POST", program.url("/v2/models/story/generate_stream"), json=body, timeout=30, trust_env=False
        ) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    found.append(json.loads(line.removeprefix("data: ")))
                    if len(found) in (1, 10)[:signals]:
                        program.process.send_signal(signal.SIGTERM)
        assert 0 == program.process.wait(30)
    if completes:
        assert ("", "length") == (found[-1]["text_output"], found[-1]["details"]["finish_reason"])
        assert "".join(f"a{place} " for place in range(100)) == "".join(one["text_output"] for one in found)
    else:
        assert "draining" == found[-1]["code"]
