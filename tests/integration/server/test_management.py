"""Models that come and go by requests, on a real server."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import socket
import tarfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.server.process import iris_request, served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

ON = {"PILLION_MANAGEMENT__ENABLED": "true"}


@contextmanager
def managed(folder: Path, store: Path, env: Mapping[str, str] | None = None, *flags: str) -> Iterator[ServerProcess]:
    """A server without declared models that keeps what is deployed in ``store``."""
    config = folder / f"{os.urandom(4).hex()}.yaml"
    write_config(config, {})
    variables = ON | {"PILLION_MODELS__STORE": str(store)} | dict(env or {})
    with served(folder, config, *flags, ready=False, env=variables) as server:
        until_now(lambda: bool(server.logged("ready")))
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("managed")
    with managed(folder, folder / "store") as running:
        yield running


def files_of(path: Path, filename: str = "") -> list[dict[str, str]]:
    return [{"filename": filename or path.name, "data": base64.b64encode(path.read_bytes()).decode()}]


def deploy(server: ServerProcess, body: Mapping[str, Any], **options: Any) -> httpx.Response:
    return httpx.post(server.url("/management/models"), json=body, timeout=30, **options)


def send(server: ServerProcess, name: str, *files: tuple[str, bytes], **fields: str) -> httpx.Response:
    parts = [("model_files", (filename, data)) for filename, data in files]
    return httpx.post(server.url("/management/models"), data={"model_id": name, **fields}, files=parts, timeout=30)


def undeploy(server: ServerProcess, name: str, **query: str) -> httpx.Response:
    return httpx.delete(server.url("/management/models"), params={"model_id": name, **query}, timeout=30)


def info(server: ServerProcess, *names: str) -> list[dict[str, Any]]:
    answer = httpx.get(server.url("/info/models"), params={"model_ids": list(names)}, timeout=60)
    models: list[dict[str, Any]] = answer.raise_for_status().json()["models"]
    return models


def predict(server: ServerProcess, name: str) -> httpx.Response:
    return httpx.post(server.url(f"/v2/models/{name}/infer"), json=iris_request(), timeout=30)


def error_of(answer: httpx.Response, status: int) -> str:
    body = answer.json()
    assert (status, status) == (answer.status_code, body["code"]), body
    assert body["id"]
    text: str = body["details"]
    return text


def test_files_in_json_become_a_model_that_answers_and_is_told(server: ServerProcess, iris: IrisModels) -> None:
    answer = deploy(server, {"model_id": "json", "model_files": files_of(iris.onnx), "metadata": {"run": 7}})
    assert 200 == answer.status_code, answer.text
    told = answer.json()
    assert ("json", "1", True, "onnx", {"run": 7}) == (
        told["name"], told["version"], told["loaded"], told["module_id"], told["metadata"],
    )  # fmt: skip
    assert iris.onnx.stat().st_size == told["size"]
    assert [told] == info(server, "json")
    assert 200 == predict(server, "json").status_code
    assert {"deploy", "ok", "none"} <= set(map(str, server.wait_logged("deploy of model json")[0].values()))


def test_files_in_parts_become_a_model_whatever_the_order(server: ServerProcess, iris: IrisModels) -> None:
    parts: list[tuple[str, tuple[str | None, bytes]]] = [
        ("model_files", ("model.onnx", iris.onnx.read_bytes())),
        ("metadata", (None, b'{"run": 8}')),
        ("model_files", ("deep/notes.md", b"")),
        ("model_id", (None, b"parts")),
    ]
    answer = httpx.post(server.url("/management/models"), files=parts, timeout=30)
    assert (200, {"run": 8}) == (answer.status_code, answer.json()["metadata"]), answer.text
    assert 200 == predict(server, "parts").status_code


def test_an_archive_is_unpacked_and_its_links_may_not_lead_out(server: ServerProcess, iris: IrisModels) -> None:
    packed, hostile = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(iris.onnx, "model.onnx")
    with tarfile.open(fileobj=hostile, mode="w:gz") as archive:
        link = tarfile.TarInfo("model.onnx")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert 200 == send(server, "packed", ("model.tar.gz", packed.getvalue())).status_code
    assert 200 == predict(server, "packed").status_code
    assert "absolute" in error_of(send(server, "hostile", ("model.tar.gz", hostile.getvalue())), 400)


@pytest.mark.parametrize("name", ["../evil", "..", "a/b", ".hidden", "x" * 300, "", "a\nb"])
def test_a_model_id_that_is_no_name_is_refused(server: ServerProcess, iris: IrisModels, name: str) -> None:
    body = {"model_id": name, "model_files": files_of(iris.onnx)}
    assert "model_id" in error_of(deploy(server, body), 400)
    assert "model_id" in error_of(send(server, name, ("m.onnx", b"x")), 400)
    assert "model_id" in error_of(undeploy(server, name), 400)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil", "a\\b", "", "a\0b", ".partial/x"])
def test_a_file_name_that_leads_elsewhere_is_refused(server: ServerProcess, iris: IrisModels, name: str) -> None:
    body = {"model_id": "evil", "model_files": [{"filename": name, "data": "eA=="}]}
    assert "model" in error_of(deploy(server, body), 400)
    assert "evil" not in {model["name"] for model in info(server)}


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving_and_says_why(
    server: ServerProcess, iris: IrisModels
) -> None:
    assert 200 == send(server, "kept", ("model.onnx", iris.onnx.read_bytes())).status_code
    assert "cannot be served" in error_of(send(server, "kept", ("model.onnx", b"no model at all")), 400)
    assert 200 == predict(server, "kept").status_code
    (told,) = info(server, "kept")
    assert ("1", True, "READY") == (told["version"], told["loaded"], told["state"])
    assert "version '2'" in told["reason"]
    assert told["time"].endswith("Z")
    assert 200 == send(server, "kept", ("model.onnx", iris.onnx.read_bytes())).status_code
    (told,) = info(server, "kept")
    assert ("3", "") == (told["version"], told["reason"])


def test_a_first_version_that_cannot_be_loaded_is_told_and_harms_nobody(server: ServerProcess) -> None:
    error_of(send(server, "broken", ("model.onnx", b"no model at all")), 400)
    (told,) = info(server, "broken")
    assert (False, "UNAVAILABLE") == (told["loaded"], told["state"])
    assert told["reason"]
    assert 200 == undeploy(server, "broken").status_code
    assert "broken" not in {model["name"] for model in info(server)}


def test_a_pickle_is_refused_and_not_opened(server: ServerProcess, iris: IrisModels) -> None:
    text = error_of(send(server, "pickled", ("model.joblib", iris.joblib.read_bytes())), 400)
    assert "pickle" in text
    # Content counts, not the name.
    assert "pickle" in error_of(send(server, "pickled", ("model.skops", iris.joblib.read_bytes())), 400)


def test_code_that_is_uploaded_does_not_run(server: ServerProcess, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nimport pillion\nclass M(pillion.Model): pass\n"
    text = error_of(send(server, "code", ("service.py", code.encode()), format="python"), 400)
    assert "Python" in text
    assert not (tmp_path / "ran").exists()


def test_undeploying_ends_the_service_and_wants_a_known_id(server: ServerProcess, iris: IrisModels) -> None:
    assert 200 == send(server, "leaving", ("model.onnx", iris.onnx.read_bytes())).status_code
    assert {"model_id": "leaving"} == undeploy(server, "leaving").json()
    assert 404 == predict(server, "leaving").status_code
    assert "leaving" in error_of(undeploy(server, "leaving"), 404)
    assert "model_id" in error_of(httpx.delete(server.url("/management/models")), 400)
    unknown = httpx.get(server.url("/info/models"), params={"model_ids": "nobody"})
    assert "nobody" in error_of(unknown, 404)


def test_a_version_in_the_store_is_deployed_again_by_its_number(server: ServerProcess, iris: IrisModels) -> None:
    for path in (iris.onnx, iris.onnx_zipmap):
        assert 200 == send(server, "back", (path.name, path.read_bytes())).status_code
    answer = deploy(server, {"model_id": "back", "version": "1"})
    assert ("1", iris.onnx.stat().st_size) == (answer.json()["version"], answer.json()["size"])
    until_now(lambda: ["1"] == [model["version"] for model in info(server, "back")])
    assert 200 == predict(server, "back").status_code
    assert "9" in error_of(deploy(server, {"model_id": "back", "version": "9"}), 404)


def test_purging_removes_the_files(server: ServerProcess, iris: IrisModels) -> None:
    assert 200 == send(server, "purged", ("model.onnx", iris.onnx.read_bytes())).status_code
    assert 200 == undeploy(server, "purged", purge="true").status_code
    assert "purged" in error_of(deploy(server, {"model_id": "purged", "version": "1"}), 404)


def test_switching_under_load_fails_no_request(server: ServerProcess, iris: IrisModels) -> None:
    data = iris.onnx.read_bytes()
    assert 200 == send(server, "busy", ("model.onnx", data)).status_code
    codes: list[int] = []
    versions: set[str] = set()
    over = threading.Event()

    def call() -> None:
        with httpx.Client() as client:
            while not over.is_set():
                answer = client.post(server.url("/v2/models/busy/infer"), json=iris_request(), timeout=30)
                codes.append(answer.status_code)
                versions.add(answer.json().get("model_version", ""))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(5):
            assert 200 == send(server, "busy", ("model.onnx", data)).status_code
        assert 200 == deploy(server, {"model_id": "busy", "version": "2"}).status_code
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert {200} == set(codes)
    assert len(codes) > 20
    assert len(versions) > 2


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"model_id": "x"}, "exactly one"),
        ({"model_id": "x", "model_files": []}, "none"),
        ({"model_id": "x", "model_files": [{"data": "eA=="}]}, "filename"),
        ({"model_id": "x", "model_files": [{"filename": "a", "data": "?"}]}, "model_files"),
        ({"model_id": "x", "model_file": []}, "model_file"),
        ({"model_id": 3}, "model_id"),
        ({"model_id": "x", "version": "1", "storage_uri": "s3://b/k"}, "exactly one"),
        ({"model_id": "x", "storage_uri": "file:///etc/passwd"}, "storage_uri"),
        ({"model_id": "x", "storage_uri": "/etc/passwd"}, "storage_uri"),
        ({"model_id": "x", "storage_uri": "http://169.254.169.254/latest"}, "metadata"),
        ({"model_id": "x", "storage_uri": "http://127.0.0.1:1/x.onnx"}, "loopback"),
        ({"model_id": "x", "storage_uri": "s3://bucket/k", "digest": "md5:1"}, "digest"),
        ({"model_id": "x", "model_files": [{"filename": "a", "data": "eA=="}], "format": "nix"}, "format"),
        ([], "object"),
    ],
)
def test_a_body_that_is_wrong_is_a_400_that_names_the_field(server: ServerProcess, body: Any, word: str) -> None:
    assert word in error_of(deploy(server, body), 400)


def test_other_bodies_and_methods_are_refused(server: ServerProcess) -> None:
    url = server.url("/management/models")
    assert "curl" in error_of(httpx.post(url, content=b"x", headers={"content-type": "text/plain"}), 415)
    assert 405 == httpx.put(url).status_code
    lame = {"content-type": "multipart/form-data"}
    assert "boundary" in error_of(httpx.post(url, content=b"x", headers=lame), 400)
    cut = {"content-type": "multipart/form-data; boundary=b"}
    assert "malformed" in error_of(httpx.post(url, content=b"--b\r\nx", headers=cut), 400)
    charset = {"content-type": "application/json; charset=utf-8"}
    assert "model_id" in error_of(httpx.post(url, content=b"{}", headers=charset), 400)


def test_pages_of_other_sites_cannot_change_models_without_a_token(server: ServerProcess) -> None:
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}, {"origin": "null"}):
        answer = httpx.delete(server.url("/management/models?model_id=json"), headers=headers)
        assert "management.token" in error_of(answer, 403)
    assert "evil.example" not in json.dumps(server.logged("undeploy of model json"))


def test_the_routes_are_in_the_document(server: ServerProcess) -> None:
    described = httpx.get(server.url("/openapi.json"), timeout=60).json()
    assert {"post", "delete"} == set(described["paths"]["/management/models"])
    assert {"application/json", "multipart/form-data"} == set(
        described["paths"]["/management/models"]["post"]["requestBody"]["content"]
    )
    assert "ModelInfo" in described["components"]["schemas"]


def test_versions_and_health_are_told(server: ServerProcess) -> None:
    told = httpx.get(server.url("/info/version")).json()
    assert told["runtime_version"] == told["python_packages"]["pillion"]
    assert "OK" == httpx.get(server.url("/health")).text


def test_an_upload_of_any_size_takes_little_memory(server: ServerProcess, iris: IrisModels, tmp_path: Path) -> None:
    assert 200 == send(server, "large", ("model.onnx", iris.onnx.read_bytes())).status_code
    with (tmp_path / "large.bin").open("wb") as sparse:
        sparse.truncate(256 << 20)
    before = peak_bytes(server.process.pid)
    with (tmp_path / "large.bin").open("rb") as content:
        parts: list[tuple[str, tuple[str, IO[bytes] | bytes]]] = [
            ("f", ("model.onnx", iris.onnx.read_bytes())),
            ("f", ("large.bin", content)),
        ]
        answer = httpx.post(server.url("/management/models"), data={"model_id": "large"}, files=parts, timeout=100)
    assert 200 == answer.status_code, answer.text
    assert (256 << 20) + iris.onnx.stat().st_size == answer.json()["size"]
    assert 64 << 20 > peak_bytes(server.process.pid) - before
    assert 200 == undeploy(server, "large", purge="true").status_code


def peak_bytes(pid: int) -> int:
    """The largest resident memory of a process so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: ServerProcess, tmp_path: Path) -> None:
    head = (
        "POST /management/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
        'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name="f"; '
        'filename="m.onnx"\r\n\r\n'
    )
    staging = server.log_file.parent / "store" / "staging"
    with socket.create_connection(("127.0.0.1", server.ports["http"])) as client:
        client.sendall(head.encode() + bytes(100_000))
        until_now(lambda: bool(list(staging.iterdir())))
    until_now(lambda: not list(staging.iterdir()))


def test_what_was_deployed_serves_again_after_a_kill_in_the_middle_of_an_upload(
    tmp_path: Path, iris: IrisModels
) -> None:
    store = tmp_path / "store"
    with managed(tmp_path, store) as first:
        assert 200 == send(first, "iris", ("model.onnx", iris.onnx.read_bytes()), metadata='{"run": 1}').status_code
        assert 200 == send(first, "gone", ("model.onnx", iris.onnx.read_bytes())).status_code
        assert 200 == undeploy(first, "gone").status_code
        head = (
            "POST /management/models?model_id=iris HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
            'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name="f"; '
            'filename="m.onnx"\r\n\r\n'
        )
        with socket.create_connection(("127.0.0.1", first.ports["http"])) as client:
            client.sendall(head.encode() + bytes(100_000))
            until_now(lambda: bool(list((store / "staging").iterdir())))
            first.signal(signal.SIGKILL)
            first.wait()
    with managed(tmp_path, store) as second:
        (told,) = info(second)
        assert ("iris", "1", True, {"run": 1}) == (told["name"], told["version"], told["loaded"], told["metadata"])
        assert 200 == predict(second, "iris").status_code
        assert [] == list((store / "staging").iterdir())


def test_without_a_folder_nothing_is_deployed_and_the_setting_is_named(tmp_path: Path, iris: IrisModels) -> None:
    write_config(tmp_path / "runtime.yaml", {"iris": iris.onnx})
    with served(tmp_path, tmp_path / "runtime.yaml", env=ON) as server:
        assert "models.store" in error_of(send(server, "x", ("m.onnx", b"x")), 403)
        (told,) = info(server)
        assert (str(iris.onnx), True) == (told["model_path"], told["loaded"])
        store = {"model_id": "iris", "model_files": files_of(iris.onnx)}
        assert 403 == deploy(server, store).status_code


def test_beyond_loopback_a_token_is_needed_and_never_shown(tmp_path: Path, iris: IrisModels) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    wide = ("--http-host", "0.0.0.0")
    with served(tmp_path, config, *wide, env=ON | {"PILLION_MODELS__STORE": str(tmp_path / "store")}) as server:
        assert "management.token" in error_of(send(server, "x", ("m.onnx", b"x")), 403)
        unload = httpx.post(server.url("/v2/repository/models/iris/unload"))
        assert (403, True) == (unload.status_code, "management.token" in unload.json()["error"])
        server.wait_logged("deploy of model : permission_denied")
    secret = {"PILLION_MANAGEMENT__TOKEN": "very-secret-token", "PILLION_API_KEY": "other-key"}
    with served(
        tmp_path, config, *wide, env=ON | secret | {"PILLION_MODELS__STORE": str(tmp_path / "store")}
    ) as server:
        assert 401 == send(server, "x", ("m.onnx", b"x")).status_code
        caller = {"authorization": "Bearer other-key"}
        body = {"model_id": "rose", "model_files": files_of(iris.onnx)}
        assert 401 == deploy(server, body, headers=caller).status_code
        owner = {"authorization": "Bearer very-secret-token"}
        assert 200 == deploy(server, body, headers=owner).status_code
        assert 409 == deploy(server, {**body, "model_id": "iris"}, headers=owner).status_code
        text = server.log_file.read_text()
        assert "very-secret-token" not in text
        assert "management.token" == server.wait_logged("deploy of model rose: ok")[0]["key"]
