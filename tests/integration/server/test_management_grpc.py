"""Models that come and go by gRPC, by a client that knows nothing but reflection, on both engines."""

from __future__ import annotations

import base64
import fcntl
import signal
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from tests.engines import ENGINE_VARIABLE, ENGINES
from tests.integration.server.process import iris_request, served, write_config
from tests.reflected import Reflected
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

MODELS, INFO = "pillion.runtime.ModelManagement", "pillion.runtime.InfoService"
PIECE = 1 << 20
LIMIT = 200 * PIECE


@contextmanager
def managed(folder: Path, *flags: str, **variables: str) -> Iterator[ServerProcess]:
    config = folder / "runtime.yaml"
    write_config(config, {})
    env = {"PILLION_MANAGEMENT__ENABLED": "true", "PILLION_MODELS__STORE": str(folder / "store"), **variables}
    with served(folder, config, *flags, ready=False, env=env) as server:
        until_now(lambda: bool(server.logged("ready")))
        yield server


@pytest.fixture(scope="module", params=ENGINES)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    variables = {ENGINE_VARIABLE: request.param, "PILLION_MANAGEMENT__MAX_UPLOAD_BYTES": str(LIMIT)}
    with managed(tmp_path_factory.mktemp("managed"), **variables) as running:
        yield running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Reflected]:
    with Reflected(server.ports["grpc"]) as client:
        yield client


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def upload(name: str, *files: tuple[str, bytes], **begin: object) -> Iterator[dict[str, Any]]:
    yield {"begin": {"model_id": name, **begin}}
    for filename, content in files:
        yield {"file": {"filename": filename, "size": len(content)}}
        for start in range(0, len(content), 1000):
            yield {"data": text(content[start : start + 1000])}


def refused(client: Reflected, name: str, document: object = None, /, **metadata: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as failure:
        client.call(name, document, **metadata)
    return failure.value.code(), failure.value.details() or ""


def staged(server: ServerProcess) -> list[Path]:
    folder = next(iter(server.log_file.parent.rglob("staging")), None)
    return [] if folder is None else list(folder.iterdir())


def test_an_upload_in_pieces_becomes_a_model_that_both_transports_tell_of(
    server: ServerProcess, client: Reflected, iris: IrisModels
) -> None:
    files = (("model.onnx", iris.onnx.read_bytes()), ("deep/notes.md", b""))
    told = client.call(f"{MODELS}/UploadModel", upload("pieces", *files, metadata={"run": 7}))

    assert ("pieces", "1", True, {"run": 7.0}) == (told["name"], told["version"], told["loaded"], told["metadata"])
    assert 200 == httpx.post(server.url("/v2/models/pieces/infer"), json=iris_request(), timeout=30).status_code
    (document,) = httpx.get(server.url("/info/models?model_ids=pieces"), timeout=60).json()["models"]
    assert [told] == client.call(f"{INFO}/GetModelsInfo", {"model_ids": ["pieces"]})["models"]
    assert (document["size"], document["time"]) == (int(told["size"]), told["time"])
    assert "ok" in map(str, server.wait_logged("deploy of model pieces")[0].values())


def test_a_model_is_deployed_named_listed_and_undeployed(client: Reflected, iris: IrisModels) -> None:
    sent = {"model_id": "life", "model_files": [{"filename": "model.onnx", "data": text(iris.onnx.read_bytes())}]}
    assert "1" == client.call(f"{MODELS}/DeployModel", sent)["version"]
    assert "2" == client.call(f"{MODELS}/DeployModel", sent)["version"]
    assert "1" == client.call(f"{MODELS}/DeployModel", {"model_id": "life", "version": "1"})["version"]
    named = client.call(f"{MODELS}/SetAlias", {"model_id": "life", "alias": "best", "version": "2"})
    assert {"best": "2"} == named["aliases"] == client.call(f"{MODELS}/ListAliases", {"model_id": "life"})["aliases"]
    assert "aliases" not in client.call(f"{MODELS}/RemoveAlias", {"model_id": "life", "alias": "best"})
    assert "life" in [model["name"] for model in client.call(f"{MODELS}/ListModels")["models"]]
    assert ["life"] == [model["name"] for model in client.call(f"{MODELS}/GetModel", {"model_id": "life"})["models"]]

    assert {"model_id": "life"} == client.call(f"{MODELS}/UndeployModel", {"model_id": "life", "purge": True})
    code, said = refused(client, f"{MODELS}/GetModel", {"model_id": "life"})
    assert (grpc.StatusCode.NOT_FOUND, True) == (code, "Request for unknown model: 'life'" in said)


@pytest.mark.parametrize(
    ("messages", "code", "says"),
    [
        ([], grpc.StatusCode.INVALID_ARGUMENT, "begin: missing"),
        ([{"begin": {"model_id": "x"}}], grpc.StatusCode.INVALID_ARGUMENT, "file: there is no file"),
        ([{"begin": {"model_id": "x"}}, {"data": "eA=="}], grpc.StatusCode.INVALID_ARGUMENT, "data: a file that is"),
        (list(upload("", ("a", b"x"))), grpc.StatusCode.INVALID_ARGUMENT, "model_id: missing"),
        (list(upload("../x", ("a", b"x"))), grpc.StatusCode.INVALID_ARGUMENT, "model_id"),
        (list(upload("x", ("../a", b"x"))), grpc.StatusCode.INVALID_ARGUMENT, "files of the model"),
        (list(upload("x", ("a", b"x"), format="no")), grpc.StatusCode.INVALID_ARGUMENT, "format: "),
        (
            [{"begin": {"model_id": "x"}}, {"file": {"filename": "a", "size": 2}}, {"data": "eA=="}],
            grpc.StatusCode.INVALID_ARGUMENT,
            "2 bytes were announced, and 1 came",
        ),
    ],
)
def test_an_upload_that_cannot_be_used_leaves_nothing(
    server: ServerProcess, messages: Any, code: grpc.StatusCode, says: str
) -> None:
    with Reflected(server.ports["grpc"]) as client:
        found, said = refused(client, f"{MODELS}/UploadModel", messages)
    assert (code, True) == (found, says in said), said
    until_now(lambda: staged(server) == [])


def test_a_model_that_cannot_be_loaded_is_refused_as_over_http(server: ServerProcess, client: Reflected) -> None:
    code, said = refused(client, f"{MODELS}/UploadModel", upload("broken", ("model.onnx", b"no model")))
    files = [("model_files", ("model.onnx", b"no model"))]
    answer = httpx.post(server.url("/management/models"), data={"model_id": "broken"}, files=files, timeout=30)
    assert answer.json()["details"].replace("version '2'", "version '1'") == said
    assert (400, grpc.StatusCode.INVALID_ARGUMENT) == (answer.status_code, code)


def _pieces(count: int, name: str = "large") -> Iterator[dict[str, Any]]:
    piece = text(bytes(PIECE))
    yield {"begin": {"model_id": name}}
    yield {"file": {"filename": "model.onnx"}}
    for _ in range(count):
        yield {"data": piece}


def _peak(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def test_memory_does_not_grow_with_an_upload_and_the_limit_is_named(server: ServerProcess, client: Reflected) -> None:
    refused(client, f"{MODELS}/UploadModel", _pieces(4))
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    before = _peak(server)

    code, said = refused(client, f"{MODELS}/UploadModel", _pieces(220))
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, True) == (code, "management.max_upload_bytes" in said), said
    assert _peak(server) - before < 60 * PIECE
    until_now(lambda: staged(server) == [])


def test_an_upload_whose_sender_leaves_is_no_model(server: ServerProcess) -> None:
    def endless() -> Iterator[dict[str, Any]]:
        yield from _pieces(2, "left")
        arrived.extend(["begun"])
        until_now(lambda: not alive)

    alive, arrived = [1], list[str]()
    with Reflected(server.ports["grpc"]) as client:
        call = client.begin(f"{MODELS}/UploadModel", endless())
        until_now(lambda: bool(staged(server)))
        call.cancel()
        alive.clear()
    until_now(lambda: staged(server) == [])
    models = httpx.get(server.url("/info/models"), timeout=60).json()["models"]
    assert "left" not in [model["name"] for model in models]


def test_information_is_everybodys_and_says_what_serves(server: ServerProcess, client: Reflected) -> None:
    told = client.call(f"{INFO}/GetRuntimeInfo")
    assert httpx.get(server.url("/info/version"), timeout=60).json() == told


@pytest.mark.parametrize("engine", ENGINES)
def test_beyond_loopback_only_who_shows_the_token_changes_models(tmp_path: Path, engine: str) -> None:
    variables = {ENGINE_VARIABLE: engine}
    wide = ("--grpc-host", "0.0.0.0")
    (tmp_path / "open").mkdir()
    with managed(tmp_path / "open", *wide, **variables) as server, Reflected(server.ports["grpc"]) as client:
        code, said = refused(client, f"{MODELS}/UndeployModel", {"model_id": "x"})
        assert (grpc.StatusCode.PERMISSION_DENIED, True) == (code, "management.token" in said), said
        assert "models" not in client.call(f"{INFO}/GetModelsInfo")
    (tmp_path / "token").mkdir()
    variables["PILLION_MANAGEMENT__TOKEN"] = "secret-of-ours"
    with managed(tmp_path / "token", *wide, **variables) as server, Reflected(server.ports["grpc"]) as client:
        code, _ = refused(client, f"{MODELS}/UploadModel", upload("x", ("a", b"x")))
        assert grpc.StatusCode.UNAUTHENTICATED == code
        code, said = refused(
            client, f"{MODELS}/UndeployModel", {"model_id": "x"}, authorization="Bearer secret-of-ours"
        )
        assert (grpc.StatusCode.NOT_FOUND, True) == (code, "unknown model" in said), said
        refusal = server.wait_logged("deploy of model x")[0]
        assert ("unauthenticated", "none") == (refusal["outcome"].lower(), refusal["key"])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_deployment_whose_caller_has_left_is_finished_before_the_server_ends(
    tmp_path: Path, iris: IrisModels, engine: str
) -> None:
    lock = tmp_path / "store" / "lock"
    sent = {"model_id": "kept", "model_files": [{"filename": "model.onnx", "data": text(iris.onnx.read_bytes())}]}
    with managed(tmp_path, **{ENGINE_VARIABLE: engine}) as server:
        with Reflected(server.ports["grpc"]) as client:
            client.call(f"{MODELS}/DeployModel", {**sent, "model_id": "first"})
            with lock.open() as held:
                fcntl.flock(held, fcntl.LOCK_EX)  # as another server on the same folder has it: the change waits
                call = client.begin(f"{MODELS}/DeployModel", sent)
                until_now(lambda: _waits_for(lock, server.process.pid))
                call.cancel()
                server.signal(signal.SIGTERM)
                until_now(lambda: not _listens(server.ports["http"]))
        assert 0 == server.wait()
        assert [] == server.logged("given up")
    with managed(tmp_path, **{ENGINE_VARIABLE: engine}) as server:
        assert 200 == httpx.post(server.url("/v2/models/kept/infer"), json=iris_request(), timeout=30).status_code


def _waits_for(file: Path, pid: int) -> bool:
    """Whether a process waits for a lock of the file."""
    inode = f":{file.stat().st_ino}"
    waiting = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(str(pid) in line and any(word.endswith(inode) for word in line) for line in waiting)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
