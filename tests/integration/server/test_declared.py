"""Models that a watched file declares while the server runs, on a real server with a real web server behind it."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import http.server
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pillion.management.declared import Declared
from pillion.management.declared_sources import DeclaredSources
from pillion.modelsfile import DeclaredModel, dump
from tests.integration.server.process import iris_request, served
from tests.waiting import until, until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pillion.runtimefile import DesiredModel
    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels


class Web:
    """Files of a folder over HTTP, which can be told to fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failing = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        web = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                web.gate.wait(100)
                if web.failing.is_set():
                    self.send_error(503)
                else:
                    super().do_GET()

            def log_message(self, *args: object) -> None:
                del args

        handler = functools.partial(Handler, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web(tmp_path: Path, iris: IrisModels) -> Iterator[Web]:
    folder = tmp_path / "web"
    folder.mkdir()
    shutil.copy(iris.onnx, folder / "iris.onnx")
    shutil.copy(iris.skops, folder / "iris.skops")
    (folder / "broken.onnx").write_bytes(b"no model")
    running = Web(folder)
    yield running
    running.close()


class Declarations:
    """The mounted folder, and the environment of a server that follows it."""

    def __init__(self, folder: Path, web: Web) -> None:
        (folder / "declared").mkdir()
        self.file = folder / "declared" / "models.json"
        self.files = folder / "files"
        self._web = web
        self.env = {
            "PILLION_MODELS__DECLARED": str(self.file),
            "PILLION_MODELS__DECLARED_FOLDER": str(self.files),
            "PILLION_STORAGE_ALLOW_PRIVATE_HOSTS": "true",
            "PILLION_STORAGE_ATTEMPTS": "1",
        }

    @property
    def sources(self) -> DeclaredSources:
        return DeclaredSources("", "", self.env)

    def model(self, name: str, source: str, **fields: Any) -> DeclaredModel:
        given: dict[str, Any] = {"id": f"{name}/1", "version": "1"} | fields
        return DeclaredModel(name=name, uri=self._web.url(source), **given)

    def write(self, *models: DeclaredModel, edit: Callable[[str], str] = str) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(edit(dump(models)))
        fresh.rename(self.file)


@pytest.fixture
def declarations(tmp_path: Path, web: Web) -> Declarations:
    return Declarations(tmp_path, web)


def reports(server: ServerProcess) -> dict[str, dict[str, Any]]:
    return {report["name"]: report for report in server.admin("/status").json()["declared"]}


def wait_for(server: ServerProcess, name: str, state: str, **fields: Any) -> dict[str, Any]:
    """Wait for a model's report."""

    def there() -> bool:
        report = reports(server).get(name, {})
        return report.get("state") == state and all(report.get(key) == value for key, value in fields.items())

    until_now(there, 120)
    return reports(server)[name]


def predict(server: ServerProcess, name: str) -> httpx.Response:
    return httpx.post(server.url(f"/v2/models/{name}/infer"), json=iris_request(), timeout=30)


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_declared_models_come_beside_the_own_one_and_go_without_a_restart(
    tmp_path: Path, config: Path, web: Web, declarations: Declarations
) -> None:
    with served(tmp_path, config, env=declarations.env) as server:
        assert {} == reports(server)
        declarations.write(
            declarations.model("one", "iris.onnx", digest=digest_of(web.folder / "iris.onnx")),
            declarations.model("two", "iris.skops"),
        )
        one, two = wait_for(server, "one", "Ready"), wait_for(server, "two", "Ready")
        assert digest_of(web.folder / "iris.onnx") == one["digest"]
        assert ("1", "two/1") == (two["serving"], two["id"])
        assert [200, 200] == [predict(server, name).status_code for name in ("one", "iris")]
        assert 2 == len(list(declarations.files.iterdir()))

        declarations.write(declarations.model("two", "iris.skops"))
        until_now(lambda: "one" not in reports(server))

        assert "unknown model" in predict(server, "one").json()["error"]
        assert 200 == predict(server, "iris").status_code
        until_now(lambda: len(list(declarations.files.iterdir())) == 1)
        assert "Ready" == reports(server)["two"]["state"]

        declarations.file.unlink()
        until_now(lambda: not reports(server))
        until_now(lambda: not list(declarations.files.iterdir()))


def test_another_digest_is_refused_with_both_and_takes_nothing_away(
    tmp_path: Path, config: Path, declarations: Declarations
) -> None:
    declarations.write(declarations.model("one", "iris.onnx", digest=f"sha256:{'0' * 64}"))
    with served(tmp_path, config, env=declarations.env) as server:  # ready although that one failed
        report = wait_for(server, "one", "Failed")

        assert ("DigestMismatch", True) == (report["cause"], report["lasting"])
        assert "0000" in report["reason"]
        assert "give the new digest" in report["reason"]
        assert 404 == predict(server, "one").status_code
        assert 200 == predict(server, "iris").status_code


def test_what_cannot_be_loaded_says_why_and_the_former_serves_on(
    tmp_path: Path, config: Path, declarations: Declarations
) -> None:
    declarations.write(declarations.model("one", "iris.onnx"))
    with served(tmp_path, config, env=declarations.env) as server:
        declarations.write(declarations.model("one", "broken.onnx", id="one/2", version="2"))

        report = wait_for(server, "one", "Failed", id="one/2")

        assert "ModelLoadFailed" == report["cause"]
        assert "1" == report["serving"]
        assert "1" == predict(server, "one").json()["model_version"]


def test_a_changed_declaration_takes_over_without_a_failed_request(
    tmp_path: Path, config: Path, declarations: Declarations
) -> None:
    declarations.write(declarations.model("one", "iris.onnx"))
    with served(tmp_path, config, env=declarations.env) as server:
        answers: list[httpx.Response] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                answers.append(predict(server, "one"))

        asking = threading.Thread(target=ask)
        asking.start()
        until_now(lambda: answers)
        # Other bytes of the same interface: what answers is told apart by the version.
        declarations.write(declarations.model("one", "iris.onnx", id="one/2", version="2", format="onnx"))
        wait_for(server, "one", "Ready", id="one/2")
        until_now(lambda: answers[-1].json().get("model_version") == "2")
        over.set()
        asking.join()

        assert {200} == {answer.status_code for answer in answers}
        assert ["1", "2"] == sorted({answer.json()["model_version"] for answer in answers})


def test_the_same_version_under_another_id_is_taken_for_a_new_declaration(
    tmp_path: Path, config: Path, declarations: Declarations
) -> None:
    declarations.write(declarations.model("one", "iris.onnx", id="first/1"))
    with served(tmp_path, config, env=declarations.env) as server:
        declarations.write(declarations.model("one", "iris.onnx", id="second/1"))

        wait_for(server, "one", "Ready", id="second/1")

        assert 200 == predict(server, "one").status_code


def test_a_start_is_not_ready_before_each_declared_model_was_tried(
    tmp_path: Path, config: Path, web: Web, declarations: Declarations
) -> None:
    web.gate.clear()
    declarations.write(declarations.model("one", "iris.onnx"))
    with served(tmp_path, config, ready=False, env=declarations.env) as server:
        until_now(lambda: "declared models are fetched and loaded: one" in server.admin("/readyz").text)
        assert 200 == predict(server, "iris").status_code

        web.gate.set()
        server.wait_ready()

        assert 200 == predict(server, "one").status_code
        assert 1 == sum(line["message"] == "ready" for line in server.log)


def test_a_source_that_fails_for_a_while_is_asked_again(
    tmp_path: Path, config: Path, web: Web, declarations: Declarations
) -> None:
    web.failing.set()
    declarations.write(declarations.model("one", "iris.onnx"))
    with served(tmp_path, config, env=declarations.env) as server:
        report = wait_for(server, "one", "Failed")
        assert ("DownloadFailed", False) == (report["cause"], report["lasting"])

        web.failing.clear()

        wait_for(server, "one", "Ready")


def test_a_name_of_the_servers_own_is_left_to_it_and_requests_cannot_take_a_declared_one(
    tmp_path: Path, config: Path, declarations: Declarations
) -> None:
    declarations.write(declarations.model("iris", "iris.skops"), declarations.model("one", "iris.onnx"))
    env = declarations.env | {
        "PILLION_MANAGEMENT__ENABLED": "true",
        "PILLION_MODELS__STORE": str(tmp_path / "store"),
    }
    with served(tmp_path, config, env=env) as server:
        assert "NameConflict" == wait_for(server, "iris", "Failed")["cause"]
        assert 200 == predict(server, "iris").status_code

        refused = httpx.delete(server.url("/management/models"), params={"model_id": "one"}, timeout=30)

        assert 409 == refused.status_code
        assert "is declared" in refused.json()["details"]
        assert 200 == predict(server, "one").status_code


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "truncated"),
        ('{"models": [{"name": "one"}]}', "missing required field `id`"),
        ('{"models": [], "modles": []}', "modles"),
    ],
)
def test_a_file_that_cannot_be_read_keeps_the_models_and_is_told(
    tmp_path: Path, config: Path, declarations: Declarations, text: str, said: str
) -> None:
    declarations.write(declarations.model("one", "iris.onnx"))
    with served(tmp_path, config, env=declarations.env) as server:
        declarations.file.write_text(text)

        until_now(lambda: said in server.admin("/status").json().get("declaredError", ""))

        assert 200 == predict(server, "one").status_code


def test_what_a_process_before_left_behind_is_removed(tmp_path: Path, config: Path, declarations: Declarations) -> None:
    (declarations.files / "0123").mkdir(parents=True)
    with served(tmp_path, config, env=declarations.env):
        assert [] == list(declarations.files.iterdir())


def test_a_file_of_the_machine_is_not_fetched(tmp_path: Path, config: Path, declarations: Declarations) -> None:
    declarations.write(DeclaredModel(id="one/1", name="one", version="1", uri="file:///etc/hostname"))
    with served(tmp_path, config, env=declarations.env) as server:
        assert "UnsupportedScheme" == wait_for(server, "one", "Failed")["cause"]


def test_a_file_of_a_mounted_volume_is_served_and_none_beside_it_or_behind_its_links(
    tmp_path: Path, config: Path, declarations: Declarations, iris: IrisModels
) -> None:
    volumes = tmp_path / "sources"
    volume = volumes / "pvc" / "disk"
    volume.mkdir(parents=True)
    shutil.copy(iris.onnx, volume / "m.onnx")
    (volume / "link.onnx").symlink_to(iris.onnx)
    (volumes / "m.onnx").write_bytes(iris.onnx.read_bytes())
    uris = {
        "one": f"{volume}/m.onnx",
        "beside": f"{volumes}/m.onnx",
        "above": f"{volume}/../../m.onnx",
        "link": f"{volume}/link.onnx",
    }
    declarations.write(
        *(DeclaredModel(id=name, name=name, version="1", uri=f"file://{path}") for name, path in uris.items())
    )
    env = declarations.env | {"PILLION_MODELS__DECLARED_SOURCES": str(volumes)}
    with served(tmp_path, config, env=env) as server:
        wait_for(server, "one", "Ready")
        causes = {name: wait_for(server, name, "Failed")["cause"] for name in ("beside", "above", "link")}

        assert 200 == predict(server, "one").status_code

    assert {"beside": "UnsupportedScheme", "above": "InvalidUri", "link": "UnsafePath"} == causes


def test_all_front_workers_serve_what_is_declared(tmp_path: Path, config: Path, declarations: Declarations) -> None:
    declarations.write(declarations.model("one", "iris.onnx"))
    with served(tmp_path, config, "--workers", "2", env=declarations.env) as server:
        assert "Ready" == reports(server)["one"]["state"]

        statuses = {predict(server, "one").status_code for _ in range(20)}  # each on a connection of its own

        assert {200} == statuses


class Loading:
    """The data plane of one worker: says where each model is loaded from, and loads while it is let."""

    def __init__(self) -> None:
        self.loaded: dict[str, Path] = {}
        self.free = asyncio.Event()

    async def add(self, model: DesiredModel, *, guarded: bool = False) -> None:
        del guarded
        self.loaded[model.version] = Path(model.path)
        await self.free.wait()

    async def remove(self, name: str, versions: Collection[str]) -> None:
        del name, versions

    async def reconfigure(self, name: str, version: str, config: Mapping[str, Any]) -> None:
        del name, version, config

    def holds(self, name: str) -> bool:
        del name
        return False

    def resident(self, name: str) -> int:
        del name
        return 0


async def test_what_one_worker_needs_no_more_stays_while_another_loads_it(declarations: Declarations) -> None:
    declarations.write(declarations.model("one", "iris.onnx"))
    planes = [Loading(), Loading()]
    workers = [
        Declared(plane, declarations.file, declarations.files, declarations.sources, interval=0.02) for plane in planes
    ]
    quick, slow = planes
    quick.free.set()
    await asyncio.gather(*(worker.begin() for worker in workers))
    watching = asyncio.gather(*(worker.watch() for worker in workers))
    await until(lambda: "1" in slow.loaded and workers[0].report()[0].get("serving") == "1")

    declarations.write(declarations.model("one", "iris.skops", id="one/2", version="2"))
    await until(lambda: workers[0].report()[0].get("serving") == "2")
    # A worker that takes the place of one that died removes what nobody has, and no more.
    third = Declared(quick, declarations.file, declarations.files, declarations.sources)
    await third.begin()

    assert slow.loaded["1"].exists()
    slow.free.set()
    await until(lambda: workers[1].report()[0].get("serving") == "2")
    await until(lambda: not slow.loaded["1"].exists())
    assert quick.loaded["2"].exists()
    watching.cancel()
    for worker in (*workers, third):
        await worker.close()
    assert quick.loaded["2"].exists()


async def test_a_model_of_a_newer_release_takes_the_others_nothing(declarations: Declarations) -> None:
    plane = Loading()
    plane.free.set()
    worker = Declared(plane, declarations.file, declarations.files, declarations.sources, interval=0.02)
    declarations.write(declarations.model("one", "iris.onnx"), declarations.model("two", "iris.onnx"))
    await worker.begin()
    watching = asyncio.create_task(worker.watch())
    await until(lambda: [one.get("serving") for one in worker.report()] == ["1", "1"])

    # As a later operator might write it: a field that this release does not have, and a new model beside it.
    declarations.write(
        declarations.model("one", "iris.onnx", id="one/2", version="2"),
        declarations.model("three", "iris.onnx"),
        declarations.model("two", "iris.onnx", id="two/2", version="2"),
        edit=lambda text: text.replace('"id": "one/2"', '"colour": "red", "id": "one/2"'),
    )
    await until(lambda: [one.get("serving") for one in worker.report()] == ["1", "1", "2"])

    one = worker.report()[0]
    assert ("Failed", "RuntimeNotSupported", True) == (one["state"], one["cause"], one["lasting"])
    assert "one/2" == one["id"]
    assert "colour" in one["reason"]
    assert "" == worker.error
    watching.cancel()
    await worker.close()


def test_without_the_folder_nothing_is_followed(tmp_path: Path, config: Path) -> None:
    env = {"PILLION_MODELS__DECLARED": str(tmp_path / "none" / "models.json")}
    with served(tmp_path, config, env=env) as server:
        assert "declared" not in server.admin("/status").json()


def test_no_temporary_file_is_loaded_twice(tmp_path: Path, config: Path, declarations: Declarations) -> None:
    """A change of anything but the source fetches nothing again: the record of the files in place is intact."""
    declarations.write(declarations.model("one", "iris.onnx"))
    with served(tmp_path, config, env=declarations.env) as server:
        before = next(declarations.files.rglob("iris.onnx")).stat()
        declarations.write(declarations.model("one", "iris.onnx", id="one/2", version="2", allow_pickle=True))
        wait_for(server, "one", "Ready", id="one/2")

        assert before.st_ino == next(declarations.files.rglob("iris.onnx")).stat().st_ino
