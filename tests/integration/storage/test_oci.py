"""Images and artifacts from a registry: the reference registry, filled by crane, and one that fails on command."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node import gotools
from pillion.cli.push import stated_digest
from pillion.storage import FetchOptions, Reason, StorageError, fetch, read_record
from pillion.storage.command import main
from pillion.storage.local_artifact import read_artifact
from tests.integration.image.conftest import pillion
from tests.integration.server.process import environment
from tests.integration.storage.conftest import LOCAL
from tests.integration.storage.faultyserver import Fault, FaultyServer
from tests.integration.storage.registries import IDENTITY, LAYER, PASSWORD, Content, TokenServer, logged_in, run, tar
from tests.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WEIGHTS = os.urandom(3_000_000)
BASE = tar({"etc/os-release": b"linux", "models/old.bin": b"old", "models/config.json": b"{}"})
TOP = tar({"models/.wh.old.bin": b"", "models/w/model.bin": WEIGHTS}, links={"models/latest": "w/model.bin"})
MODEL = {"config.json": b"{}", "w/model.bin": WEIGHTS, "latest": WEIGHTS}


@pytest.fixture(scope="module")
def crane() -> Path:
    return gotools.ensure(["crane"])["crane"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that everybody may read and write."""
    with registry(tmp_path_factory.mktemp("registry") / "open") as started:
        yield started


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with TokenServer(tmp_path_factory.mktemp("tokens")) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Guarded:
    """A registry that takes tokens, with a model for everybody and one for ann, and that one's digest."""

    host: str
    digest: str


@pytest.fixture(scope="module")
def guarded(tokens: TokenServer, crane: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Filled before it is guarded: crane asks no token server of this machine."""
    folder, digest = tmp_path_factory.mktemp("guarded"), ""
    with registry(folder / "registry") as opened:
        for name in ("public", "private"):
            content = Content()
            root = content.artifact({"a.bin": b"a"})
            digest = content.push(folder / name, root, f"{opened}/{name}/iris:1", crane, os.environ)
    with registry(folder / "registry", tokens=tokens.settings) as started:
        yield Guarded(started, digest)


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """An environment in which nobody has logged in anywhere."""
    return {"DOCKER_CONFIG": str(tmp_path / "nobody")}


@pytest.fixture
def pushed(host: str, crane: Path, tmp_path: Path) -> tuple[str, str]:
    """The URI of an image with a model, and its digest."""
    content, name = Content(), f"{host}/team/{tmp_path.name.replace('_', '-')}:v1"
    digest = content.push(tmp_path / "layout", content.image(BASE, TOP), name, crane, os.environ)
    return f"oci://{name}", digest


def placed(dest: Path) -> dict[str, bytes]:
    assert not any(path.is_symlink() for path in dest.rglob("*"))
    found = (path for path in dest.rglob("*") if path.is_file() and path.name != ".pillion-artifact.json")
    return {path.relative_to(dest).as_posix(): path.read_bytes() for path in found}


async def refused(uri: str, dest: Path, env: Mapping[str, str], options: FetchOptions = LOCAL) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await fetch(uri, dest, options, environment=env)
    assert not placed(dest) or ".partial" in str(next(iter(placed(dest))))
    assert caught.value.remedy
    return caught.value


async def test_the_folder_of_the_model_comes_out_of_an_image(
    pushed: tuple[str, str], dest: Path, nobody: dict[str, str]
) -> None:
    uri, digest = pushed

    artifact = await fetch(uri, dest, LOCAL, environment=nobody)

    assert MODEL == placed(dest)
    assert ("archive", digest) == (artifact.kind, artifact.digest)


async def test_what_is_in_place_stays_and_a_tag_that_moves_is_noticed_where_that_is_asked_for(
    host: str, crane: Path, tmp_path: Path, dest: Path, nobody: dict[str, str]
) -> None:
    revalidate = replace(LOCAL, reuse="revalidate")
    uri, digests = f"{host}/moving/iris:1", []
    for number in (1, 2):
        content = Content()
        root = content.image(tar({"models/a.bin": b"%d" % number}))
        content.push(tmp_path / f"{number}", root, uri, crane, os.environ)
        found = [await fetch(f"oci://{uri}", dest, revalidate, environment=nobody) for _ in range(2)]
        assert [False, True] == [one.reused for one in found]
        digests.append(found[0].digest)

    assert {"a.bin": b"2"} == placed(dest)
    pinned = await fetch(f"oci://{uri}@{digests[0]}", tmp_path / "first", LOCAL, environment=nobody)
    assert (digests[0], {"a.bin": b"1"}) == (pinned.digest, placed(tmp_path / "first"))


async def test_a_digest_that_is_another_is_refused_before_anything_is_downloaded(
    pushed: tuple[str, str], dest: Path, nobody: dict[str, str]
) -> None:
    uri, digest = pushed
    other = "sha256:" + "0" * 64

    error = await refused(uri, dest, nobody, replace(LOCAL, digest=other))

    assert (Reason.DIGEST_MISMATCH, True) == (error.reason, digest in error.message)
    assert Reason.OBJECT_NOT_FOUND == (await refused(f"{uri}@{other}", dest, nobody)).reason


async def test_of_an_index_one_image_is_taken_and_the_digest_is_the_indexes(
    host: str, crane: Path, tmp_path: Path, dest: Path, nobody: dict[str, str]
) -> None:
    content, name = Content(), f"{host}/index/iris:1"
    root = content.index({a: content.image(tar({"models/a.bin": b"same"}), architecture=a) for a in ("amd64", "arm64")})
    digest = content.push(tmp_path / "layout", root, name, crane, os.environ)

    artifact = await fetch(f"oci://{name}", dest, LOCAL, environment=nobody)

    assert (digest, {"a.bin": b"same"}) == (artifact.digest, placed(dest))


async def test_an_artifact_of_files_is_those_files_and_a_single_one_is_a_file(
    host: str, crane: Path, tmp_path: Path, dest: Path, nobody: dict[str, str]
) -> None:
    files = {"config.json": b"{}", "w/model.bin": WEIGHTS}
    for name, held in (("many", files), ("one", {"iris.skops": b"skops"}), ("tgz", {"m.tar.gz": tar({"a.bin": b"a"})})):
        content = Content()
        content.push(tmp_path / name, content.artifact(held), f"{host}/files/{name}:1", crane, os.environ)
    kinds = [
        (await fetch(f"oci://{host}/files/{name}:1", dest / name, LOCAL, environment=nobody)).kind
        for name in ("many", "one", "tgz")
    ]

    assert ["tree", "file", "archive"] == kinds
    assert files == placed(dest / "many")
    assert ({"iris.skops": b"skops"}, {"a.bin": b"a"}) == (placed(dest / "one"), placed(dest / "tgz"))


async def test_a_token_is_asked_for_once_for_a_model_of_everybodys(
    guarded: Guarded, tokens: TokenServer, dest: Path, nobody: dict[str, str]
) -> None:
    tokens.asked.clear()

    await fetch(f"oci://{guarded.host}/public/iris:1", dest, LOCAL, environment=nobody)

    assert {"a.bin": b"a"} == placed(dest)
    assert [("repository:public/iris:pull", "")] == tokens.asked


async def test_a_login_opens_what_is_private(
    guarded: Guarded, tokens: TokenServer, dest: Path, tmp_path: Path, nobody: dict[str, str]
) -> None:
    """By Docker's configuration, by one of several files as Secrets are mounted, and by an identity token."""
    uri = f"oci://{guarded.host}/private/iris:1"
    ann = logged_in(tmp_path / "ann", guarded.host)
    other = logged_in(tmp_path / "other", "registry.example", username="eve", password="x")
    files = tuple((tmp_path / name / "config.json") for name in ("other", "ann"))
    identity = logged_in(tmp_path / "identity", guarded.host, identitytoken=IDENTITY)
    tokens.asked.clear()

    await fetch(uri, dest / "1", LOCAL, environment=ann)
    await fetch(uri, dest / "2", replace(LOCAL, registry_configs=files), environment=nobody)
    await fetch(uri, dest / "3", LOCAL, environment=identity)

    assert ["password", "password", "identity"] == [how for _, how in tokens.asked]
    error = await refused(uri, dest / "4", other)
    assert (Reason.ACCESS_DENIED, True) == (error.reason, "no login for" in error.message)
    assert "kubernetes.io/dockerconfigjson" in error.remedy


async def test_a_login_that_is_refused_is_told_without_its_password(
    guarded: Guarded, dest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = logged_in(tmp_path / "wrong", guarded.host, username="ann", password="wr0ng-password")

    error = await refused(f"oci://{guarded.host}/private/iris:1", dest, wrong)

    assert (Reason.ACCESS_DENIED, True) == (error.reason, "to the login in" in error.message)
    assert "wr0ng" not in f"{error} {caplog.text}"


def test_the_storage_step_says_the_digest_and_no_secret(
    guarded: Guarded, dest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    env = {**logged_in(tmp_path / "ann", guarded.host), "PILLION_STORAGE_ALLOW_PRIVATE_HOSTS": "true"}
    log = tmp_path / "termination"
    log.touch()
    arguments = ["--uri", f"oci://{guarded.host}/private/iris:1", "--dest", str(dest), "--termination-log", str(log)]

    assert 0 == main(arguments, env)

    (told,) = json.loads(log.read_text())["artifacts"]
    assert guarded.digest == told["digest"]
    said = capfd.readouterr().err
    assert guarded.digest in said
    assert PASSWORD not in said
    assert "Bearer" not in said


async def test_names_that_are_not_there_and_no_registry_are_told(
    host: str, pushed: tuple[str, str], dest: Path, nobody: dict[str, str]
) -> None:
    tag = await refused(f"{pushed[0]}2", dest, nobody)
    repository = await refused(f"oci://{host}/nothing/here:1", dest, nobody)
    once = replace(LOCAL, attempts=1)
    unreachable = await refused("oci://127.0.0.1:1/a/b:1", dest, nobody, once)

    assert {Reason.OBJECT_NOT_FOUND} == {tag.reason, repository.reason}
    assert "v12" in tag.message
    assert (Reason.DOWNLOAD_FAILED, True) == (unreachable.reason, "port 1" in unreachable.message)
    forbidden = await refused(f"oci://{host}/a/b:1", dest, nobody, FetchOptions())
    assert Reason.FORBIDDEN_ADDRESS == forbidden.reason


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (tar({"srv/a.bin": b"a"}), Reason.OBJECT_NOT_FOUND),
        (tar({"models/../../evil": b"x"}), Reason.UNSAFE_ARCHIVE),
        (tar({}, links={"models/a": "../../etc/passwd"}), Reason.UNSAFE_ARCHIVE),
    ],
)
async def test_an_image_without_a_model_or_with_one_that_leaves_its_folder_is_refused(
    server: FaultyServer, dest: Path, nobody: dict[str, str], layer: bytes, reason: Reason
) -> None:
    content = Content()
    content.serve(server, content.image(layer), "a/b", "1")

    error = await refused(f"oci://127.0.0.1:{server.port}/a/b:1", dest, nobody)

    assert reason == error.reason
    assert not (dest.parent / "evil").exists()


@pytest.fixture
def faulty(server: FaultyServer) -> tuple[str, Content, FaultyServer]:
    """An image at a registry that fails on command."""
    content = Content()
    content.serve(server, content.image(BASE, TOP), "a/b", "1")
    return f"oci://127.0.0.1:{server.port}/a/b:1", content, server


def blob_of(data: bytes, content: Content) -> str:
    (digest,) = [digest for digest, held in content.blobs.items() if held == data]
    return f"/v2/a/b/blobs/{digest}"


async def test_a_layer_that_breaks_off_is_gone_on_with(
    faulty: tuple[str, Content, FaultyServer], dest: Path, nobody: dict[str, str]
) -> None:
    uri, content, server = faulty
    path = blob_of(TOP, content)
    server.resources[path].faults.append(Fault(cut_after=2_000_000))

    await fetch(uri, dest, LOCAL, environment=nobody)

    assert MODEL == placed(dest)
    asked = server.ranges(path)
    assert [None, "bytes=2000000-"] == asked


async def test_another_run_goes_on_with_the_layers_of_one_that_gave_up(
    faulty: tuple[str, Content, FaultyServer], dest: Path, nobody: dict[str, str]
) -> None:
    uri, content, server = faulty
    path = blob_of(TOP, content)
    server.resources[path].faults.append(Fault(cut_after=2_000_000))
    error = await refused(uri, dest, nobody, replace(LOCAL, attempts=1))

    await fetch(uri, dest, LOCAL, environment=nobody)

    assert (Reason.DOWNLOAD_FAILED, "bytes=2000000-") == (error.reason, server.ranges(path)[-1])
    assert MODEL == placed(dest)


async def test_a_stalled_layer_is_given_up_and_tried_again(
    faulty: tuple[str, Content, FaultyServer], dest: Path, nobody: dict[str, str]
) -> None:
    uri, content, server = faulty
    server.resources[blob_of(TOP, content)].faults.append(Fault(stall_after=1_000_000))

    await fetch(uri, dest, replace(LOCAL, stall_seconds=1.0), environment=nobody)

    assert MODEL == placed(dest)


@pytest.mark.parametrize("what", ["layer", "manifest"])
async def test_content_that_is_not_what_its_digest_says_is_refused(
    faulty: tuple[str, Content, FaultyServer], dest: Path, nobody: dict[str, str], what: str
) -> None:
    uri, content, server = faulty
    if what == "layer":
        server.resources[blob_of(TOP, content)].data = TOP[:-1] + bytes([TOP[-1] ^ 1])
    else:
        root = server.resources["/v2/a/b/manifests/1"]
        uri = next(f"{uri}@{digest}" for digest, data in content.blobs.items() if data == root.data)
        server.resources[f"/v2/a/b/manifests/{uri.partition('@')[2]}"].data = root.data + b" "

    assert Reason.DIGEST_MISMATCH == (await refused(uri, dest, nobody)).reason


async def test_a_layer_that_is_no_tar_and_limits_are_told(
    server: FaultyServer, dest: Path, nobody: dict[str, str]
) -> None:
    content = Content()
    config = content.put(b"{}", "application/vnd.oci.image.config.v1+json")
    content.serve(server, content.manifest(config, [content.put(b"no tar" * 200, LAYER)]), "a/b", "1")
    content.serve(server, content.manifest(config, [content.put(tar({"models/a": WEIGHTS}), LAYER)]), "a/b", "2")
    uri = f"oci://127.0.0.1:{server.port}/a/b"

    assert Reason.CORRUPT_ARCHIVE == (await refused(f"{uri}:1", dest, nobody)).reason
    assert Reason.TOO_LARGE == (await refused(f"{uri}:2", dest, nobody, replace(LOCAL, max_bytes=1_000_000))).reason


async def test_a_blob_that_is_redirected_gets_no_token_and_its_challenge_is_not_answered(
    server: FaultyServer, other_server: FaultyServer, dest: Path, tmp_path: Path
) -> None:
    content = Content()
    content.serve(server, content.artifact({"a.bin": b"a" * 5000}), "a/b", "1")
    (digest,) = [digest for digest, data in content.blobs.items() if data == b"a" * 5000]
    ann = logged_in(tmp_path / "ann", f"127.0.0.1:{server.port}")
    realm = other_server.url("/token", host="localhost")
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
    other_server.put("/blob", b"a" * 5000).faults.append(Fault(status=401, headers=challenge))
    server.resources[f"/v2/a/b/blobs/{digest}"].redirect = other_server.url("/blob")

    error = await refused(f"oci://127.0.0.1:{server.port}/a/b:1", dest, ann)
    await fetch(f"oci://127.0.0.1:{server.port}/a/b:1", dest, LOCAL, environment=ann)

    assert Reason.ACCESS_DENIED == error.reason
    assert ["/blob", "/blob"] == [seen.path for seen in other_server.seen]
    assert {None} == {seen.headers.get("authorization") for seen in other_server.seen}


@pytest.mark.parametrize(
    ("realm", "says"),
    [
        ("ftp://a.example/token", "no http(s) address"),
        ("https://[a/token", "no http(s) address"),
        ("http://a.example:99999/token", "no http(s) address"),
        ("https:///token", "no http(s) address"),
        ("{server}/nothing", "is not there"),
        ("{server}/deep", "gave no token"),
    ],
)
async def test_a_token_server_that_is_none_is_told(
    faulty: tuple[str, Content, FaultyServer], dest: Path, nobody: dict[str, str], realm: str, says: str
) -> None:
    uri, _, server = faulty
    server.put("/deep", b'{"token":' + b"[" * 100_000)
    challenge = f'Bearer realm="{realm.format(server=server.url())}"'
    server.resources["/v2/a/b/manifests/1"].faults.append(Fault(status=401, headers={"WWW-Authenticate": challenge}))

    error = await refused(uri, dest, nobody)

    assert (Reason.DOWNLOAD_FAILED, True) == (error.reason, says in error.message), error


async def test_the_address_rule_binds_the_token_server(own_address: str, dest: Path, tmp_path: Path) -> None:
    with FaultyServer(host="0.0.0.0") as server:
        name = f"{own_address}:{server.port}"
        challenge = f'Bearer realm="{server.url("/token")}"'
        fault = Fault(status=401, headers={"WWW-Authenticate": challenge})
        server.put("/v2/a/b/manifests/1", b"{}").faults.append(fault)
        ann = logged_in(tmp_path / "ann", name)
        error = await refused(f"oci://{name}/a/b:1", dest, ann, FetchOptions(insecure_registries=(name,)))

    assert (Reason.FORBIDDEN_ADDRESS, 1) == (error.reason, len(server.seen))


async def test_plain_http_is_for_loopback_or_by_a_setting_alone(
    own_address: str, dest: Path, nobody: dict[str, str]
) -> None:
    content = Content()
    with FaultyServer(host="0.0.0.0") as server:
        content.serve(server, content.artifact({"a.bin": b"a"}), "a/b", "1")
        name = f"{own_address}:{server.port}"
        error = await refused(f"oci://{name}/a/b:1", dest, nobody, replace(LOCAL, attempts=1))
        assert not server.seen
        await fetch(f"oci://{name}/a/b:1", dest, replace(LOCAL, insecure_registries=(name,)), environment=nobody)

    assert (Reason.DOWNLOAD_FAILED, True) == (error.reason, "PILLION_STORAGE_INSECURE_REGISTRIES" in error.remedy)
    assert {"a.bin": b"a"} == placed(dest)


async def test_a_model_that_is_pushed_comes_back_under_the_digest_that_was_printed(
    host: str, crane: Path, tmp_path: Path, dest: Path
) -> None:
    folder = tmp_path / "iris"
    (folder / "w").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "w/model.bin").write_bytes(b"w" * 1000)
    (folder / "w/same.bin").write_bytes(b"w" * 1000)
    env, uri = environment(DOCKER_CONFIG=str(tmp_path / "nobody")), f"oci://{host}/pushed/iris:1"

    def push(*more: str) -> tuple[int, str, str]:
        done = pillion("push", str(folder), uri, *more, cwd=tmp_path, env=env)
        return done.returncode, done.stdout, done.stderr

    code, printed, _ = push()
    digest = run(crane, env, "digest", uri.removeprefix("oci://")).strip()
    assert (0, f"storageUri: {uri}\ndigest: {digest}\n") == (code, printed)
    assert "there already" in push()[2]
    assert digest == stated_digest(await asyncio.to_thread(read_artifact, folder), uri)  # as `pillion deploy` does
    artifact = await fetch(uri, dest, replace(LOCAL, digest=digest), environment=env)
    assert ("tree", digest) == (artifact.kind, artifact.digest)
    assert {"config.json", "w/model.bin", "w/same.bin"} == placed(dest).keys()
    record = read_record(dest)
    assert record is not None
    assert digest == record.digest

    (folder / "config.json").write_bytes(b'{"new": 1}')
    assert (2, True) == ((refusal := push())[0], "--force" in refusal[2])
    assert 0 == push("--force")[0]
    assert digest != run(crane, env, "digest", uri.removeprefix("oci://")).strip()
