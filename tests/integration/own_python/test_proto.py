"""``pillion proto``: its files compile with protoc, and clients made of them call servers of changed classes, too."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.integration.own_python.program import PILLION, failing, serving
from tests.integration.server.process import environment

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = '''
import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Literal

import numpy as np

from pillion import File, Model, task


@dataclasses.dataclass
class Cat:
    kind: Literal["cat"]
    lives: int


@dataclasses.dataclass
class Dog:
    kind: Literal["dog"]
    name: str


@dataclasses.dataclass
class Label:
    text: str
    score: float
    best: "Label | None" = None


class Zoo(Model):
    @task
    def classify(self, text: str, top_k: int = 1, at: dt.datetime | None = None) -> list[Label]:
        """Labels of a text."""
        return [Label(text, 0.5)] * top_k

    @task
    def greet(self, pet: Cat | Dog, grid: list[list[float]], lists: dict[str, list[Label]] | None = None) -> Cat | Dog:
        return pet

    @task
    def double(self, x: np.ndarray, file: File | None = None) -> np.ndarray:
        return x * 2

    @task
    def spell(self, word: str) -> Iterator[str]:
        yield from word

    @task
    def shout(self, words: Iterator[str]) -> Iterator[str]:
        for word in words:
            yield word.upper()

    @task
    def nothing(self) -> None: ...
'''

CLIENT = """
import sys

import grpc
from zoo import zoo_pb2, zoo_pb2_grpc
from pillion_values import Array

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = zoo_pb2_grpc.ZooServiceStub(channel)
    found = stub.ClassifyPredict(zoo_pb2.ClassifyRequest(text="", top_k=2), timeout=60)
    print([(one.text, one.score) for one in found.result])
    pet = zoo_pb2.GreetRequest.PetUnion(cat=zoo_pb2.Cat(kind="cat", lives=7))
    row = zoo_pb2.GreetRequest.GridItem(value=[1.0])
    print(stub.GreetPredict(zoo_pb2.GreetRequest(pet=pet, grid=[row]), timeout=60).result.cat.lives)
    print([one.result for one in stub.ServerStreamingSpellPredict(zoo_pb2.SpellRequest(word="ab"), timeout=60)])
    words = iter([zoo_pb2.ShoutRequest(words="a"), zoo_pb2.ShoutRequest(words="b")])
    print([one.result for one in stub.BidiStreamingShoutPredict(words, timeout=60)])
"""
ANSWERS = "[('', 0.5), ('', 0.5)]\n7\n['a', 'b']\n['A', 'B']\n"


def pillion(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*PILLION, "proto", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def called(stubs: Path, port: int) -> str:
    done = subprocess.run(
        [sys.executable, "client.py", f"127.0.0.1:{port}"],
        cwd=stubs, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with its ``.proto`` files, and a folder with what protoc makes of them and a client of that."""
    folder, stubs = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("stubs")
    (folder / "service.py").write_text(SERVICE)
    code, printed = pillion(folder)
    assert (code, printed) == (0, "wrote proto/zoo/zoo.proto, proto/pillion/values.proto, proto.lock\n")
    protos = ["proto/zoo/zoo.proto", "proto/pillion/values.proto"]
    options = ["-Iproto", f"--python_out={stubs}", f"--grpc_python_out={stubs}"]
    done = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", *options, *protos],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), "a warning is a fault of the file"
    # The generated package is called pillion as ours is: what a client in Python has installed may be either.
    made = (stubs / "pillion" / "values_pb2.py").read_text()
    (stubs / "pillion" / "values_pb2.py").unlink()
    (stubs / "pillion_values.py").write_text(made)
    zoo = stubs / "zoo" / "zoo_pb2.py"
    zoo.write_text(zoo.read_text().replace("from pillion import values_pb2", "import pillion_values"))
    (stubs / "client.py").write_text(CLIENT)
    return folder, stubs


@pytest.mark.parametrize("engine", ["grpcio", "asyncio"])
def test_a_stub_of_protoc_calls_the_server_also_after_the_class_changed(
    project: tuple[Path, Path], tmp_path: Path, engine: str
) -> None:
    folder, stubs = project
    (tmp_path / "proto.lock").write_text((folder / "proto.lock").read_text())
    (tmp_path / "service.py").write_text(SERVICE)
    with serving(tmp_path, "service.py:Zoo", PILLION_GRPC__ENGINE=engine) as program:
        assert called(stubs, program.ports["grpc"]) == ANSWERS
        assert "proto.lock" not in program.printed
    moved = SERVICE.replace("text: str, top_k: int = 1", "fresh: bool = False, top_k: int = 1, text: str = 'x'")
    moved = moved.replace("text: str\n    score: float", "score: float\n    text: str")
    moved = moved.replace("[Label(text, 0.5)]", "[Label(0.5, text)]")
    (tmp_path / "service.py").write_text(moved)
    with serving(tmp_path, "service.py:Zoo", PILLION_GRPC__ENGINE=engine) as program:
        assert called(stubs, program.ports["grpc"]) == ANSWERS
        program.wait_for("proto.lock does not know all of its fields (new: ClassifyRequest.fresh)")


def test_what_is_out_of_date_fails_the_check_and_a_changed_type_is_refused(
    project: tuple[Path, Path], tmp_path: Path
) -> None:
    assert pillion(project[0], "--check") == (0, "up to date: zoo.ZooService\n")
    service = tmp_path / "service.py"
    service.write_text(SERVICE)
    code, printed = pillion(tmp_path, "--check")
    assert code == 1
    assert "proto.lock is missing" in printed
    assert not (tmp_path / "proto.lock").exists()
    assert pillion(tmp_path)[0] == 0
    service.write_text(SERVICE.replace("top_k: int = 1, ", "").replace("* top_k", ""))
    code, printed = pillion(tmp_path, "--check")
    assert code == 1
    assert "zoo.ZooService: gone: ClassifyRequest.top_k" in printed
    assert pillion(tmp_path)[0] == 0
    assert 'reserved 2;\n  reserved "top_k";' in (tmp_path / "proto" / "zoo" / "zoo.proto").read_text()
    service.write_text(
        SERVICE.replace("classify(self, text: str", "classify(self, text: int").replace("Label(text,", 'Label("",')
    )
    before = (tmp_path / "proto.lock").read_text()
    code, printed = pillion(tmp_path)
    assert code == 1
    assert "zoo.ZooService: ClassifyRequest.text was string and is int64" in printed
    assert "--renumber" in printed
    assert (tmp_path / "proto.lock").read_text() == before, "nothing was written"
    assert pillion(tmp_path, "--renumber")[0] == 0
    text = (tmp_path / "proto" / "zoo" / "zoo.proto").read_text()
    assert "reserved 1;" in text
    assert "optional int64 text = 4;" in text
    assert pillion(tmp_path, "--check")[0] == 0


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_worker_processes_do_not_change_the_numbers(tmp_path: Path, executor: str) -> None:
    service = tmp_path / "service.py"
    text = "from pillion import Model, task\n\n\nclass Mood(Model):\n    @task\n    def size(self, ARGUMENTS) -> int:\n"
    text += "        return len(text)\n"
    service.write_text(text.replace("ARGUMENTS", "text: str"))
    assert pillion(tmp_path)[0] == 0
    service.write_text(text.replace("ARGUMENTS", "fresh: bool = False, text: str = ''"))
    assert pillion(tmp_path)[0] == 0
    with serving(tmp_path, "service.py:Mood", "--executor", executor) as program:
        with grpc.insecure_channel(f"127.0.0.1:{program.ports['grpc']}") as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/mood.MoodService/SizePredict")
            # As old clients write it: field 1 is the text. The answer's field 1 is its length.
            assert call(b"\x0a\x03abc", timeout=60) == b"\x08\x03"
        assert "proto.lock" not in program.printed


def test_a_module_of_several_classes_and_one_class_of_it(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(SERVICE + "\n\nclass Other(Model):\n    @task\n    def one(self) -> int: ...\n")
    assert pillion(tmp_path, "zoo:Other", "--out", "api")[0] == 0
    assert pillion(tmp_path, "zoo.py", "--out", "api")[0] == 0
    assert {file.name for file in (tmp_path / "api").rglob("*.proto")} == {"zoo.proto", "other.proto", "values.proto"}
    assert pillion(tmp_path, "zoo.py", "--out", "api", "--check") == (
        0,
        "up to date: zoo.ZooService, other.OtherService\n",
    )


def test_a_broken_lock_stops_start_and_command(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "proto.lock").write_text("<<<<<<< HEAD\n")
    code, printed = pillion(tmp_path)
    assert code == 2
    assert "take it from version control again" in printed
    code, printed = failing(tmp_path, "service.py:Zoo")
    assert code != 0
    assert "take it from version control again" in printed


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nowhere.py:Zoo", "no such file"),
        ("what is this", "no folder"),
        ("plain.py:Plain", "no method is marked with @task"),
        ("broken.py:Broken", "SyntaxError"),
    ],
)
def test_what_has_no_service_is_said(tmp_path: Path, target: str, told: str) -> None:
    (tmp_path / "plain.py").write_text(
        "import numpy as np\nfrom pillion import Model\n\n\nclass Plain(Model):\n"
        "    def predict(self, x: np.ndarray) -> np.ndarray:\n        return x\n"
    )
    (tmp_path / "broken.py").write_text("class Broken(\n")
    code, printed = pillion(tmp_path, target)
    assert code == 2
    assert told in printed
    assert "Traceback" not in printed
