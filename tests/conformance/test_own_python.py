"""A class of one's own called by grpcurl, which learns everything from the server's reflection."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines import ENGINE_VARIABLE, ENGINES
from tests.integration.own_python.program import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program

SERVICE = """
import dataclasses
from typing import Any
from pillion import Model, task

@dataclasses.dataclass
class Label:
    name: str
    score: float = 0.0

class Mood(Model):
    def load(self):
        self.score = {"good": 1, "bad": -1}
    @task
    def classify(self, text: str) -> int:
        return sum(self.score.get(word, 0) for word in text.split())
    @task
    async def label_all(self, texts: list[str], labels: list[Label], options: Any = None) -> list[Label]:
        return [Label(label.name, len(texts)) for label in labels]
"""


@pytest.fixture(scope="module", params=ENGINES)
def program(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("own")
    (folder / "service.py").write_text(SERVICE)
    with serving(folder, "service.py:Mood", "--reload", **{ENGINE_VARIABLE: request.param}) as program:
        yield program


def run(grpcurl: str, program: Program, *arguments: str, body: object = None) -> subprocess.CompletedProcess[str]:
    options = [] if body is None else ["-d", json.dumps(body)]
    address = f"127.0.0.1:{program.ports['grpc']}"
    return subprocess.run(
        [grpcurl, "-plaintext", *options, address, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def answer(grpcurl: str, program: Program, method: str, body: object) -> Any:
    done = run(grpcurl, program, f"mood.MoodService/{method}", body=body)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_it_is_listed_and_described(grpcurl: str, program: Program) -> None:
    assert "mood.MoodService" in run(grpcurl, program, "list").stdout.split()
    described = run(grpcurl, program, "describe", "mood.MoodService").stdout
    assert "rpc ClassifyPredict ( .mood.ClassifyRequest ) returns ( .mood.ClassifyResponse );" in described
    message = run(grpcurl, program, "describe", "mood.LabelAllRequest").stdout
    assert "repeated string texts = 1" in message
    assert "repeated .mood.Label labels = 2" in message


def test_it_is_called_with_no_further_code(grpcurl: str, program: Program) -> None:
    assert {"result": "1"} == answer(grpcurl, program, "ClassifyPredict", {"text": "good good bad"})
    body = {"texts": ["a", "b"], "labels": [{"name": "x"}]}
    assert {"result": [{"name": "x", "score": 2}]} == answer(grpcurl, program, "LabelAllPredict", body)


@pytest.mark.parametrize(
    ("method", "body", "code", "sentence"),
    [
        ("ClassifyPredict", {}, "InvalidArgument", "text: is missing"),
        ("LabelAllPredict", {"texts": ["a"], "labels": [{}]}, "InvalidArgument", "labels[0].name: is missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    grpcurl: str, program: Program, method: str, body: object, code: str, sentence: str
) -> None:
    done = run(grpcurl, program, f"mood.MoodService/{method}", body=body)
    assert 0 != done.returncode
    assert code in done.stderr
    assert sentence in done.stderr


def test_a_method_that_is_added_while_it_serves_can_be_called(
    grpcurl: str, program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    added = "    @task\n    def shout(self, text: str) -> str:\n        return text.upper()\n"
    file = max(tmp_path_factory.getbasetemp().glob("own*/service.py"), key=lambda path: path.stat().st_mtime)
    file.write_text(SERVICE + added)
    program.wait_for("reloaded mood in")
    assert {"result": "A"} == answer(grpcurl, program, "ShoutPredict", {"text": "a"})
