"""``pillion.serve``: a class served from within a program."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

import pillion
from pillion import Model, task
from pillion.client import CallError
from pillion.server.failures import ExitCode, StartError
from tests.integration.server.process import environment
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass
class Label:
    name: str


class TextMood(Model):
    def load(self) -> None:
        self.score = {"good": 1, "bad": -1}

    @task
    def classify(self, text: str) -> int:
        return sum(self.score.get(word, 0) for word in text.split())

    @task
    def rename(self, label: Label) -> Label:
        return Label(label.name.upper())

    def predict(self, x: np.ndarray) -> np.ndarray:
        return 2 * x


def test_a_block_serves_on_a_free_port_and_ends_it() -> None:
    before = threading.active_count()
    with pillion.serve(TextMood, blocking=False) as s, pillion.serve(TextMood, blocking=False) as other:
        assert s.url != other.url
        assert 1 == s.client.call("classify", text="good good bad")
        assert {"name": "A"} == s.client.call("rename", label=Label("a"))
        assert {"name": "A"} == s.client.call("rename", model="text-mood", label={"name": "a"})
        assert [[2.0, 4.0]] == s.client.predict(np.array([[1, 2]]))
    with pytest.raises(httpx.ConnectError):
        httpx.get(s.url)
    until_now(lambda: threading.active_count() <= before + 2)


async def test_it_works_inside_a_running_event_loop_as_in_a_notebook() -> None:
    with pillion.serve(TextMood, blocking=False) as s:
        assert 1 == s.client.call("classify", text="good")
        async with httpx.AsyncClient(base_url=s.url) as client:
            answers = await asyncio.gather(*(client.post("/classify", json={"text": "bad"}) for _ in range(5)))
        assert [-1] * 5 == [answer.json() for answer in answers]


async def test_the_blocking_form_inside_an_event_loop_says_what_to_write() -> None:
    with pytest.raises(RuntimeError, match="blocking=False"):
        pillion.serve(TextMood)


def test_a_class_of_a_function_is_served_as_well() -> None:
    factor = 3

    class Times(Model):
        @task
        def times(self, number: int) -> int:
            return factor * number

    with pillion.serve(Times, blocking=False) as s:
        assert 6 == s.client.call("times", number=2)


def test_the_artifact_and_the_device_are_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_text("heavy")

    class Reader(Model):
        def load(self, artifact: Path) -> None:
            self.text = f"{artifact.read_text()} on {self.device}"

        @task
        def read(self) -> str:
            return self.text

    with pillion.serve(Reader, blocking=False, artifact=file, device="cuda") as s:
        assert "heavy on cuda" == s.client.call("read")


def test_an_error_of_the_server_is_raised_with_its_sentence_and_status() -> None:
    with pillion.serve(TextMood, blocking=False) as s:
        with pytest.raises(CallError, match="text: should be a valid string") as failure:
            s.client.call("classify", text=5)
        assert 422 == failure.value.status
        assert failure.value.id
        with pytest.raises(CallError, match="tasks: classify, rename"):
            s.client.call("clasify", text="a")


def test_a_key_of_the_environment_is_asked_for_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILLION_API_KEY", "secret")
    with pillion.serve(TextMood, blocking=False) as s:
        assert 401 == httpx.post(f"{s.url}/classify", json={"text": "good"}).status_code
        assert 1 == s.client.call("classify", text="good")


class Nothing(Model):
    pass


class Failing(Model):
    def load(self) -> None:
        raise RuntimeError("no weights today")

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [(Nothing, "Nothing has neither predict nor a task"), (Failing, r"test_program.py:\d+: RuntimeError: no weights")],
)
def test_a_class_that_cannot_be_served_is_raised_in_the_caller(cls: type[Model], sentence: str) -> None:
    with pytest.raises(StartError, match=sentence) as failure:
        pillion.serve(cls, blocking=False)
    assert ExitCode.USAGE is failure.value.code


def test_a_port_in_use_is_raised_in_the_caller() -> None:
    with pillion.serve(TextMood, blocking=False) as s:
        port = int(s.url.rpartition(":")[2])
        with pytest.raises(StartError, match="in use") as failure:
            pillion.serve(TextMood, blocking=False, port=port)
        assert ExitCode.BIND is failure.value.code


def test_an_instance_is_told_to_be_a_class() -> None:
    with pytest.raises(TypeError, match=r"takes classes, not TextMood: write pillion.serve\(TextMood\)"):
        pillion.serve(TextMood())


BLOCKING = """
import os, signal, threading, time
import httpx, pillion
from pillion import Model, task

class Mood(Model):
    @task
    def classify(self, text: str) -> int:
        return len(text)

def ask_and_end():
    while True:
        try:
            answer = httpx.post("http://127.0.0.1:{port}/classify", json={{"text": "abc"}})
        except httpx.ConnectError:
            continue
        if answer.status_code == 200:
            break
    print(answer.text, flush=True)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=ask_and_end, daemon=True).start()
pillion.serve(Mood, port={port}, grpc_port=0)
print("ended", flush=True)
"""


def test_the_blocking_form_serves_until_it_is_interrupted(free_port: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BLOCKING.format(port=free_port))],
        env=environment(PILLION_ADMIN__PORT="0"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "3\nended\n") == (done.returncode, done.stdout), done.stderr


def test_importing_pillion_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys; before = set(sys.modules); from pillion import Model, task; new = set(sys.modules) - before;"
        " print({one.partition('.')[0] for one in new} - sys.stdlib_module_names, 'asyncio' in new, len(new) < 100)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "{'pillion'} False True\n" == done.stdout


def test_a_served_class_answers_only_on_loopback_by_default() -> None:
    with pillion.serve(TextMood, blocking=False) as s:
        assert s.url.startswith("http://127.0.0.1:")
        assert s.grpc.startswith("127.0.0.1:")
