"""The folder of registered versions, on a real disk."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.modelstore import ModelStore
from pillion.storage.digest import tree_digest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "deep" / "vocabulary.txt").write_text("a\nb\n")
    return folder


def refused(error: pytest.ExceptionInfo[PillionError], code: ErrorCode, *words: str) -> None:
    assert code == error.value.code, str(error.value)
    for word in words:
        assert word in str(error.value)


def test_versions_are_numbered_from_one_and_hold_what_was_registered(store: ModelStore, artifact: Path) -> None:
    first = store.register("iris", artifact, {"accuracy": 0.9})
    second = store.register("iris", artifact)
    assert ("1", "2") == (first.version, second.version)
    assert b"weights" == (first.path / "model.bin").read_bytes()
    assert "a\nb\n" == (second.path / "deep" / "vocabulary.txt").read_text()
    assert {"accuracy": 0.9} == first.metadata
    assert 11 == first.size
    assert [first, second] == store.versions("iris")
    assert second == store.get("iris")


def test_the_digest_is_that_of_the_storage_initializer(store: ModelStore, artifact: Path) -> None:
    files = [
        (path, len(data), hashlib.sha256(data).hexdigest())
        for path, data in (("model.bin", b"weights"), ("deep/vocabulary.txt", b"a\nb\n"))
    ]
    assert tree_digest(files) == store.register("iris", artifact).digest
    single = store.register("one", artifact / "model.bin")
    assert f"sha256:{hashlib.sha256(b'weights').hexdigest()}" == single.digest
    assert "model.bin" == single.path.name


def test_a_store_that_is_opened_again_has_the_same_versions(store: ModelStore, artifact: Path) -> None:
    version = store.register("iris", artifact, {"data": "sha256:1"})
    store.alias("iris", "stable", "1")
    store.set_deployed("iris", "1")
    again = ModelStore(store.folder)
    assert [version] == again.versions()
    assert {"stable": "1"} == again.aliases("iris")
    assert [version] == again.deployed()


def test_the_number_of_a_deleted_version_is_not_given_again(store: ModelStore, artifact: Path) -> None:
    store.register("iris", artifact)
    store.register("iris", artifact)
    store.delete("iris", "2")
    assert ["1"] == [version.version for version in store.versions("iris")]
    assert "3" == store.register("iris", artifact).version
    assert [] == list((store.folder / "staging").iterdir())


def test_an_alias_leads_to_a_version_and_can_be_moved(store: ModelStore, artifact: Path) -> None:
    store.register("iris", artifact)
    store.register("iris", artifact)
    store.alias("iris", "stable", "1")
    assert "1" == store.get("iris@stable").version
    store.alias("iris", "stable", "2")
    assert "2" == store.get("iris@stable").version
    store.alias("iris", "stable", None)
    with pytest.raises(PillionError) as error:
        store.get("iris@stable")
    refused(error, ErrorCode.UNKNOWN_MODEL, "stable", "1, 2")


def test_a_version_in_use_is_not_deleted(store: ModelStore, artifact: Path) -> None:
    version = store.register("iris", artifact)
    hold = ModelStore(store.folder).hold(version)  # of another process, as far as the store can tell
    with pytest.raises(PillionError) as error:
        store.delete("iris", "1")
    refused(error, ErrorCode.CONFLICT, "loaded", "unload")
    hold.close()
    store.set_deployed("iris", "1")
    with pytest.raises(PillionError) as error:
        store.delete("iris", "1")
    refused(error, ErrorCode.CONFLICT, "deployed", "undeploy")
    store.set_deployed("iris", None)
    store.alias("iris", "stable", "1")
    with pytest.raises(PillionError) as error:
        store.delete("iris", "1")
    refused(error, ErrorCode.CONFLICT, "stable")
    store.alias("iris", "stable", None)
    store.delete("iris", "1")
    assert [] == store.names()
    with pytest.raises(PillionError) as error:
        store.hold(version)
    refused(error, ErrorCode.UNKNOWN_MODEL, "deleted")


def test_what_failed_to_deploy_is_remembered_until_something_is_deployed(store: ModelStore, artifact: Path) -> None:
    store.register("iris", artifact)
    store.set_failure("iris", "2", "no such format")
    failure = ModelStore(store.folder).failures()["iris"]
    assert ("2", "no such format") == (failure.version, failure.reason)
    store.set_deployed("iris", "1")
    assert {} == store.failures()


def test_links_pipes_and_empty_folders_are_refused_and_leave_nothing(store: ModelStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "model.bin").symlink_to(secret)
    piped = tmp_path / "piped"
    piped.mkdir()
    os.mkfifo(piped / "model.bin")
    empty = tmp_path / "empty"
    (empty / "deep").mkdir(parents=True)
    for source, word in ((linked, "symbolic link"), (piped, "pipe"), (empty, "no files"), (tmp_path / "x", "exist")):
        with pytest.raises(PillionError) as error:
            store.register("iris", source)
        refused(error, ErrorCode.INVALID_ARGUMENT, word)
    assert [] == list((store.folder / "staging").iterdir())
    assert [] == store.names()


def test_names_that_differ_in_capitals_only_are_refused(store: ModelStore, artifact: Path) -> None:
    store.register("iris", artifact)
    with pytest.raises(PillionError) as error:
        store.register("Iris", artifact)
    refused(error, ErrorCode.CONFLICT, "iris", "capitals")


def test_an_unknown_name_is_told_what_is_near(store: ModelStore, artifact: Path) -> None:
    store.register("iris", artifact)
    with pytest.raises(PillionError) as error:
        store.get("irs")
    refused(error, ErrorCode.UNKNOWN_MODEL, "did you mean 'iris'")


def test_metadata_that_json_has_not_is_refused(store: ModelStore, artifact: Path) -> None:
    with pytest.raises(PillionError) as error:
        store.register("iris", artifact, {"what": object()})
    refused(error, ErrorCode.INVALID_ARGUMENT, "metadata")
    with pytest.raises(PillionError) as error:
        store.register("iris", artifact, {"what": "x" * 300_000})
    refused(error, ErrorCode.INVALID_ARGUMENT, "metadata", "bytes")


def test_many_threads_that_register_at_a_time_get_numbers_of_their_own(store: ModelStore, artifact: Path) -> None:
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(store.register("iris", artifact).version)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number) for number in range(1, 9)] == sorted(got, key=int)


def test_what_another_live_process_puts_together_is_left_alone(store: ModelStore) -> None:
    staging = store.stage()
    ModelStore(store.folder)
    assert staging.root.is_dir()
    staging.release()  # as when its process dies
    ModelStore(store.folder)
    assert not staging.root.exists()


def test_a_damaged_record_is_named_and_hides_no_other_version(store: ModelStore, artifact: Path) -> None:
    store.register("iris", artifact)
    store.register("iris", artifact)
    (store.folder / "models" / "iris" / "2" / "version.json").write_text("{")
    assert ["1"] == [version.version for version in store.versions("iris")]
    with pytest.raises(PillionError) as error:
        store.get("iris")
    refused(error, ErrorCode.INTERNAL, "version.json", "damaged")


def test_a_folder_that_is_a_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(PillionError) as error:
        ModelStore(tmp_path / "store")
    refused(error, ErrorCode.INTERNAL, "cannot be used")


def test_a_store_opens_while_others_put_versions_together_and_give_up(tmp_path: Path) -> None:
    store, ended = ModelStore(tmp_path), threading.Event()

    def stage() -> None:
        while not ended.is_set():
            for staging in [store.stage() for _ in range(8)]:
                staging.discard()

    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(stage) for _ in range(2)]
        try:
            for _ in range(200):
                ModelStore(tmp_path)
        finally:
            ended.set()
    assert [None, None] == [one.result() for one in busy]


def test_who_gives_up_while_a_version_is_committed_takes_nothing_of_it(
    store: ModelStore, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = store.stage()
    staging.add(artifact)
    reached, go_on, whole = threading.Event(), threading.Event(), staging.release

    def release() -> None:
        reached.set()
        go_on.wait(100)
        whole()

    monkeypatch.setattr(staging, "release", release)
    with ThreadPoolExecutor(2) as pool:
        committing = pool.submit(store.commit, staging, "iris")
        assert reached.wait(60)
        giving_up = pool.submit(staging.discard)
        giving_up_early = wait([giving_up], timeout=0.2).done
        go_on.set()
        version = committing.result()
        giving_up.result()

    assert set() == giving_up_early
    assert b"weights" == (version.path / "model.bin").read_bytes()
