"""Models that MLflow knows: its real server, and one that fails on command."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from pillion.storage import FetchOptions, Reason, StorageError, fetch
from tests.conformance.conftest import SCRIPTS
from tests.conformance.environments import environment
from tests.integration.storage.conftest import LOCAL
from tests.integration.storage.faultyserver import Fault, FaultyServer
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.integration.storage.conftest import S3Server

MODEL = {"MLmodel": b"flavors: {}\n", "data/weights.bin": bytes(range(256)) * 8192}
WEIGHTS = os.urandom(3_000_000)
API = "/api/2.0"


@dataclass(frozen=True, slots=True)
class Mlflow:
    """The real server: what leads there, a run of it, a model that it logged."""

    env: Mapping[str, str]
    run: str
    logged: str


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command: list[str | Path] = [environment("mlflow-server"), "-I", SCRIPTS / "mlflow_server.py", folder, str(port)]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "log").read_text()
        yield Mlflow({"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}, **json.loads(line))
        process.kill()


def placed(dest: Path) -> dict[str, bytes]:
    found = (path for path in dest.rglob("*") if path.is_file() and path.name != ".pillion-artifact.json")
    return {path.relative_to(dest).as_posix(): path.read_bytes() for path in found}


async def refused(uri: str, dest: Path, env: Mapping[str, str], options: FetchOptions = LOCAL) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await fetch(uri, dest, options, environment=env)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    "uri",
    [
        "models:/iris/1",
        "models:/iris/2",
        "models:/iris@champion",
        "models:/{logged}",
        "runs:/{run}/folder",
        "runs:/{run}/logged",
    ],
)
async def test_a_model_is_found_by_every_name_that_it_has(mlflow: Mlflow, dest: Path, uri: str) -> None:
    artifact = await fetch(uri.format(run=mlflow.run, logged=mlflow.logged), dest, LOCAL, environment=mlflow.env)

    assert MODEL == placed(dest)
    assert "tree" == artifact.kind


async def test_a_file_of_a_run_is_a_file_and_a_part_of_a_model_its_folder(mlflow: Mlflow, dest: Path) -> None:
    artifact = await fetch(f"runs:/{mlflow.run}/folder/data/weights.bin", dest, LOCAL, environment=mlflow.env)

    assert ("file", "weights.bin") == (artifact.kind, artifact.model_path.name)
    part = await fetch(f"runs:/{mlflow.run}/logged/data", dest / "part", LOCAL, environment=mlflow.env)
    assert ["weights.bin"] == [file.path for file in part.files]


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("models:/iris/9", "registered model 'iris' with the version '9'"),
        ("models:/nothing/1", "registered model 'nothing'"),
        ("models:/iris@nobody", "the alias 'nobody'"),
        ("models:/m-00000000000000000000000000000000", "logged model 'm-0"),
        ("runs:/nowhere/folder", "run 'nowhere'"),
        ("runs:/{run}/nothing", "has no files in it"),
    ],
)
async def test_what_the_server_does_not_know_is_named(mlflow: Mlflow, dest: Path, uri: str, says: str) -> None:
    error = await refused(uri.format(run=mlflow.run), dest, mlflow.env)

    assert (Reason.OBJECT_NOT_FOUND, True) == (error.reason, says in error.message), error


def known(server: FaultyServer, place: str, **more: Any) -> dict[str, str]:
    """Have a server say that version 1 of iris is at a place; what leads there."""
    told = json.dumps({"artifact_uri": place}).encode()
    server.put(f"{API}/mlflow/model-versions/get-download-uri", told, **more)
    return {"MLFLOW_TRACKING_URI": server.url()}


def proxied(server: FaultyServer, data: bytes, name: str = "w.bin") -> dict[str, str]:
    """Have it give out a folder with one file."""
    listing = {"files": [{"path": name, "is_dir": False, "file_size": len(data)}]}
    server.put(f"{API}/mlflow-artifacts/artifacts", json.dumps(listing).encode())
    server.put(f"{API}/mlflow-artifacts/artifacts/0/m/{name}", data)
    return known(server, "mlflow-artifacts:/0/m")


async def test_a_broken_download_goes_on_under_the_servers_etag(server: FaultyServer, dest: Path) -> None:
    env = proxied(server, WEIGHTS)
    path = f"{API}/mlflow-artifacts/artifacts/0/m/w.bin"
    server.resources[path].faults.append(Fault(cut_after=2_000_000))

    await fetch("models:/iris/1", dest, LOCAL, environment=env)

    assert {"w.bin": WEIGHTS} == placed(dest)
    assert [None, "bytes=2000000-"] == server.ranges(path)


async def test_a_model_in_a_bucket_comes_from_there(s3: S3Server, server: FaultyServer, dest: Path) -> None:
    s3.put("models/mlflow/a/MLmodel", b"flavors")
    s3.put("models/mlflow/ab/MLmodel", b"another's")
    env = known(server, "s3://models/mlflow/a")

    artifact = await fetch("models:/iris/1", dest, LOCAL, environment={**os.environ, **s3.environment, **env})

    assert {"MLmodel": b"flavors"} == placed(dest)
    assert "models:/iris/1" == artifact.uri


async def test_a_file_of_a_run_in_a_bucket_is_a_file(s3: S3Server, server: FaultyServer, dest: Path) -> None:
    s3.put("models/mlflow/run/a/iris.skops", b"skops")
    told = {"run": {"info": {"artifact_uri": "s3://models/mlflow/run"}}}
    server.put(f"{API}/mlflow/runs/get", json.dumps(told).encode())
    env = {**os.environ, **s3.environment, "MLFLOW_TRACKING_URI": server.url()}

    kinds = [
        (await fetch(f"runs:/0a/{path}", dest / path.replace("/", "-"), LOCAL, environment=env)).kind
        for path in ("a", "a/iris.skops")
    ]

    assert ["tree", "file"] == kinds
    assert {"iris.skops": b"skops"} == placed(dest / "a-iris.skops")
    assert Reason.OBJECT_NOT_FOUND == (await refused("runs:/0a/b", dest / "b", env)).reason


@pytest.mark.parametrize("place", ["/{folder}", "file:///{folder}"])
async def test_a_folder_of_the_servers_machine_is_for_that_machine_alone(
    server: FaultyServer, tmp_path: Path, dest: Path, place: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/MLmodel").write_bytes(b"flavors")
    env = known(server, place.format(folder=str(tmp_path / "there").lstrip("/")))

    await fetch("models:/iris/1", dest, LOCAL, environment=env)

    assert {"MLmodel": b"flavors"} == placed(dest)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("dbfs:/models/iris", "which is fetched from nowhere"),
        ("https://host/file", "which is fetched from nowhere"),
        ("mlflow-artifacts://other.example/0/m", "another server"),
        ("runs:/run/a", "has no run 'run'"),
        ("models:/x", "did not answer as a tracking server"),
        ("", "did not answer as a tracking server"),
    ],
)
async def test_a_place_that_leads_nowhere_is_told(server: FaultyServer, dest: Path, place: str, says: str) -> None:
    assert says in (await refused("models:/iris/1", dest, known(server, place))).message


async def test_a_name_that_leaves_the_folder_is_refused(server: FaultyServer, dest: Path) -> None:
    assert Reason.UNSAFE_PATH == (await refused("models:/iris/1", dest, proxied(server, b"x", "../../evil"))).reason


async def test_a_server_that_names_folders_without_end_is_left(server: FaultyServer, dest: Path) -> None:
    folders = [{"path": name, "is_dir": True} for name in ("a", "b")]
    server.put(f"{API}/mlflow-artifacts/artifacts", json.dumps({"files": folders}).encode())

    error = await refused("models:/iris/1", dest, known(server, "mlflow-artifacts:/0/m"), replace(LOCAL, max_files=20))

    assert Reason.TOO_LARGE == error.reason
    assert len(server.seen) <= 1 + 20


@pytest.mark.parametrize("told", [{"files": 1}, {"files": ["a"]}, ["a"]])
async def test_a_listing_that_is_none_is_told(server: FaultyServer, dest: Path, told: Any) -> None:
    server.put(f"{API}/mlflow-artifacts/artifacts", json.dumps(told).encode())

    error = await refused("models:/iris/1", dest, known(server, "mlflow-artifacts:/0/m"))

    assert "did not answer as a tracking server" in error.message


@pytest.mark.parametrize(
    ("login", "more"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "pa55word"}, {"password": "ann:pa55word"}),
        ({"MLFLOW_TRACKING_TOKEN": "5ecret"}, {"token": "5ecret"}),
    ],
)
async def test_who_we_are_is_told_to_the_server(
    server: FaultyServer, dest: Path, login: dict[str, str], more: dict[str, str]
) -> None:
    env = proxied(server, b"w")
    for resource in server.resources.values():
        resource.password, resource.token = more.get("password"), more.get("token")

    await fetch("models:/iris/1", dest, LOCAL, environment={**env, **login})
    error = await refused("models:/iris/1", dest / "nobody", env)
    wrong = await refused(
        "models:/iris/1", dest / "wrong", {**env, **{name: f"{text}x" for name, text in login.items()}}
    )

    assert {"w.bin": b"w"}.items() <= placed(dest).items()
    assert (Reason.ACCESS_DENIED, True) == (error.reason, "MLFLOW_TRACKING_USERNAME" in error.remedy)
    assert (Reason.ACCESS_DENIED, False) == (wrong.reason, any(text in str(wrong) for text in login.values()))


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, "is not known"),
        ({"MLFLOW_TRACKING_URI": "databricks"}, "not the address of a server"),
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, "not the address of a server"),
        ({"MLFLOW_TRACKING_URI": "https://ann:pa55word@host"}, "not the address of a server"),
        ({"MLFLOW_TRACKING_URI": "https://host", "MLFLOW_TRACKING_TOKEN": "a b"}, "is not a token"),
        ({"MLFLOW_TRACKING_URI": "https://host", "MLFLOW_TRACKING_INSECURE_TLS": "true"}, "unverified"),
        ({"MLFLOW_TRACKING_URI": "https://host", "MLFLOW_TRACKING_SERVER_CERT_PATH": "/none"}, "/none"),
    ],
)
async def test_a_variable_that_is_wrong_is_named(dest: Path, env: dict[str, str], says: str) -> None:
    error = await refused("models:/iris/1", dest, env)

    assert (Reason.INVALID_SETTING, True) == (error.reason, says in error.message)
    assert "pa55word" not in str(error)


async def test_the_address_rule_binds_the_server_and_a_folder_of_its_machine(own_address: str, dest: Path) -> None:
    with FaultyServer(host="0.0.0.0") as server:
        known(server, "/etc")
        near, far = server.url(), server.url(host=own_address)
        answers = [
            await refused("models:/iris/1", dest, {"MLFLOW_TRACKING_URI": base}, FetchOptions()) for base in (near, far)
        ]

    assert {Reason.FORBIDDEN_ADDRESS} == {error.reason for error in answers}
    assert ("loopback" in answers[0].message, "the tracking server's machine" in answers[1].message) == (True, True)
