"""Files sent with curl -F and downloaded again."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from openapi_spec_validator import validate

from pillion import File
from pillion.client import CallError, Client
from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program

SERVICE = """
import dataclasses
import hashlib
import threading
from pathlib import Path

from PIL import Image

from pillion import File, Model, task


@dataclasses.dataclass
class Hints:
    language: str
    words: File | None = None


class Wave:
    def __init__(self, samples):
        self.samples = samples

    @classmethod
    def from_file(cls, file: File) -> "Wave":
        if file.size == 0:
            raise ValueError("should hold samples")
        return cls(file.read())

    def to_file(self) -> File:
        return File(self.samples, filename="louder.wav")


class Media(Model):
    def load(self):
        self.spooled = []
        self.threads = []
        read = File.read

        def watched(file):
            if not file.in_memory:
                self.threads.append(threading.current_thread() is not threading.main_thread())
            return read(file)

        File.read = watched

    @task
    def digest(self, audio: File) -> str:
        self.spooled.append("" if audio.in_memory else str(audio.path))
        return hashlib.sha256(audio.read()).hexdigest()

    @task
    async def gauge(self, audio: File) -> dict[str, int]:
        sizes = [len(piece) async for piece in audio.achunks(1_000_000)]
        return {"whole": len(await audio.aread()), "pieces": len(sizes), "sum": sum(sizes)}

    @task
    def sizes(self, chunks: list[bytes], files: list[File | None] = []) -> list[int]:
        return [len(chunk) for chunk in chunks] + [file.size for file in files if file]

    @task
    def off_the_loop(self) -> list[bool]:
        return self.threads

    @task
    def spooled_files(self) -> list[str]:
        return self.spooled

    @task
    def transcribe(self, audio: File, hints: Hints, top_k: int = 1, tags: list[str] = []) -> dict[str, str]:
        words = "" if hints.words is None else hints.words.read().decode()
        return {
            "name": audio.filename or "", "type": audio.media_type, "language": hints.language, "words": words,
            "top_k": str(top_k), "tags": " ".join(tags),
        }

    @task
    def echo(self, file: File) -> File:
        return file

    @task
    def turn(self, image: Image.Image) -> Image.Image:
        return image.rotate(90, expand=True)

    @task
    def louder(self, wave: Wave) -> Wave:
        return Wave(wave.samples.upper())

    @task
    def count(self, raw: bytes) -> int:
        return len(raw)

    @task
    def large(self, size: int) -> File:
        path = Path("large.bin")
        path.write_bytes(b"x" * size)
        return File(path)

    @task
    def lost(self) -> File:
        return File("nowhere.bin")
"""
LIMITS = {"PILLION_LIMITS__MAX_BODY_BYTES": str(8 * 1024 * 1024)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("files")
    (folder / "service.py").write_text(SERVICE)
    return folder


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    with serving(folder, "service.py:Media", **LIMITS) as program:
        yield program


@pytest.fixture(scope="module")
def client(program: Program) -> Iterator[Client]:
    with Client(program.url()) as client:
        yield client


def form(program: Program, path: str, *parts: str) -> tuple[int, Any]:
    """Status and answer of `curl -F`."""
    return program.curl(path, None, *(option for part in parts for option in ("-F", part)))


def test_a_form_of_curl_is_the_arguments(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a b.wav").write_bytes(b"RIFF")
    (tmp_path / "words.txt").write_text("hej")
    answer = form(
        program, "/transcribe", f"audio=@{tmp_path}/a b.wav", "hints.language=da", f"hints.words=@{tmp_path}/words.txt",
        "top_k=3", "tags=x", "tags=y",
    )  # fmt: skip
    told = {"name": "a b.wav", "language": "da", "words": "hej", "top_k": "3", "tags": "x y"}
    assert (200, told | {"type": answer[1]["type"]}) == answer
    assert answer[1]["type"].startswith("audio/")


def test_a_form_of_the_envelope_merges_its_parts(program: Program, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    (tmp_path / "words.txt").write_text("hej")
    status, answer = form(
        program, "/api/v1/task/transcribe", "model_id=media", f"inputs.audio=@{tmp_path}/x.wav;type=audio/ogg",
        'inputs={"hints": {"language": "da"}};type=application/json', f"inputs.hints.words=@{tmp_path}/words.txt",
        'parameters={"top_k": 2};type=application/json',
    )  # fmt: skip
    assert (200, "audio/ogg", "da", "hej", "2") == (
        status, answer["type"], answer["language"], answer["words"], answer["top_k"]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["inputs", "inputs.audio"])
def test_the_only_required_parameter_may_be_named_or_not(program: Program, tmp_path: Path, name: str) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (200, empty) == form(program, "/api/v1/task/digest", f"{name}=@{tmp_path}/x.wav")


def test_json_holds_the_same_files_as_base64(program: Program) -> None:
    text = base64.b64encode(b"abc").decode()
    expected = (200, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert expected == program.curl("/digest", {"audio": text})
    assert expected == program.curl("/digest", {"audio": {"data": text, "filename": "a.wav"}})


@pytest.mark.parametrize(
    ("path", "parts", "status", "sentence"),
    [
        ("/digest", ["audio=@{file}", "audio=@{file}"], 400, "audio: is given twice"),
        ("/digest", ["sound=@{file}"], 422, "audio: is missing; sound: task 'digest' has no such parameter"),
        ("/transcribe", ["audio=@{file}", "hints={{;type=application/json"], 400, "hints: is not valid JSON"),
        ("/transcribe", ["audio=@{file}", "hints.language=a", "top_k=many"], 422, "top_k: should be a valid integer"),
        ("/transcribe", ["audio=@{file}", "hints.size=a"], 422, "hints.language: is missing"),
        ("/turn", ["image=@{file}"], 422, "image: should be an image, and is in no known format"),
        ("/digest", ["audio..x=@{file}"], 400, "audio..x: names are those of fields, with dots between"),
        ("/louder", ["wave=@/dev/null"], 422, "wave: should hold samples"),
    ],
)
def test_what_is_wrong_with_a_form_is_said_with_its_part(
    program: Program, tmp_path: Path, path: str, parts: list[str], status: int, sentence: str
) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    found, answer = form(program, path, *(part.format(file=tmp_path / "file") for part in parts))
    assert (status, status) == (found, answer["code"]), answer
    assert sentence in answer["details"]


@pytest.mark.parametrize(
    ("headers", "body", "status", "sentence"),
    [
        ("multipart/form-data", b"", 400, "names no boundary"),
        ("multipart/form-data; boundary=x", b"", 400, "ends before its last boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--", 400, "no name"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"a" * 9000 + b": b\r\n\r\n", 400, "malformed"),
        ("multipart/form-data; boundary=x", b"garbage", 400, "malformed"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b'Content-Disposition: form-data; name="a"\r\n\r\n\r\n--x\r\n'
         * 300, 413, "more than 256 parts"),
    ],
)  # fmt: skip
def test_a_malformed_form_is_refused(program: Program, headers: str, body: bytes, status: int, sentence: str) -> None:
    answer = httpx.post(program.url("/digest"), content=body, headers={"content-type": headers}, trust_env=False)
    assert status == answer.status_code, answer.text
    assert sentence in answer.json()["details"]


def test_a_form_over_the_limit_of_bodies_is_refused(program: Program, client: Client) -> None:
    with pytest.raises(CallError) as refusal:
        client.call("digest", audio=File(b"x" * (8 * 1024 * 1024)))
    assert 413 == refusal.value.status


def test_a_large_file_is_on_disk_and_gone_after_the_call(client: Client) -> None:
    content = b"0123456789abcdef" * 200_000
    assert hashlib.sha256(content).hexdigest() == client.call("digest", audio=File(content, filename="a.wav"))
    path = client.call("spooled_files")[-1]
    assert path
    until_now(lambda: not Path(path).exists())


def test_a_file_is_answered_as_it_is(program: Program, folder: Path) -> None:
    (folder / "in.txt").write_text("hello")
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", "--fail", "-F", f'file=@{folder}/in.txt;filename="é.txt"',
         program.url("/echo")],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    head, _, body = done.stdout.partition("\n\n")  # universal newlines
    assert "hello" == body
    assert "content-disposition: attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A9.txt" in head.splitlines()
    assert "content-type: text/plain" in head.splitlines()


def test_a_large_answer_is_streamed_from_disk(client: Client) -> None:
    file = client.call("large", size=3_000_000)
    assert isinstance(file, File)
    assert ("large.bin", 3_000_000, "application/octet-stream") == (file.filename, file.size, file.media_type)


def test_images_and_classes_that_read_and_write_files_are_files(client: Client, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (2, 3)).save(tmp_path / "a.png")
    turned = client.call("turn", image=File(tmp_path / "a.png"))
    with turned.open() as stream:
        assert ("image/png", (3, 2)) == (turned.media_type, Image.open(stream).size)
    louder = client.call("louder", wave=File(b"abc"))
    assert ("louder.wav", b"ABC") == (louder.filename, louder.read())


def test_bytes_may_be_a_part_too(program: Program, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(range(256)))
    assert (200, 256) == form(program, "/count", f"raw=@{tmp_path}/raw")


def test_a_file_on_disk_is_read_outside_the_event_loop(program: Program, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(b"x" * 3_000_000)

    assert (200, 3_000_000) == program.curl("/count", None, "-F", f"raw=@{large}")
    found = {"whole": 3_000_000, "pieces": 3, "sum": 3_000_000}
    assert (200, found) == program.curl("/gauge", None, "-F", f"audio=@{large}")
    assert (200, {**found, "pieces": 1, "whole": 2, "sum": 2}) == program.curl("/gauge", {"audio": "eHg="})

    threads = program.curl("/off_the_loop", {})[1]
    assert (True, True) == (len(threads) >= 2, all(threads))


def test_several_parts_of_bytes_are_sent_as_they_are_and_described_so(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\x00")
    sent = ["-F", f"chunks=@{tmp_path}/a", "-F", f"chunks=@{tmp_path}/a", "-F", f"files=@{tmp_path}/a"]
    assert (200, [2, 2, 2]) == program.curl("/sizes", None, *sent)

    described = program.curl("/openapi.json")[1]["paths"]["/sizes"]["post"]["requestBody"]["content"]
    parts = described["multipart/form-data"]["schema"]["properties"]
    binary = {"type": "array", "items": {"type": "string", "format": "binary"}}
    assert (binary, binary) == (parts["chunks"], parts["files"])


def test_a_file_that_is_not_there_is_the_models_failure(program: Program) -> None:
    status, answer = program.curl("/lost", {})
    assert 500 == status
    assert "it is a File of nowhere.bin, and there is no such file" in answer["details"]


def test_the_documentation_has_the_parts_of_a_form(program: Program) -> None:
    _, document = program.curl("/openapi.json")
    operation = document["paths"]["/transcribe"]["post"]
    content = operation["requestBody"]["content"]
    assert {"application/json", "multipart/form-data"} == content.keys()
    schema = content["multipart/form-data"]["schema"]
    assert {"type": "string", "format": "binary"} == schema["properties"]["audio"]
    answer = document["paths"]["/echo"]["post"]["responses"]["200"]["content"]
    assert {"*/*": {"schema": {"type": "string", "format": "binary"}}} == answer
    assert "$defs" not in json.dumps(document)
    validate(document)
