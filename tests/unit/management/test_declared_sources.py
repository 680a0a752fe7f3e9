"""Where files of declared models may come from, and with which credentials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pillion.management.declared_sources import DeclaredSources
from pillion.modelsfile import DeclaredModel
from pillion.storage.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path


def declared(uri: str, **fields: str) -> DeclaredModel:
    return DeclaredModel(id="a", name="a", version="1", uri=uri, **fields)  # type: ignore[arg-type]  # texts only


def test_each_store_is_asked_with_its_own_description(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(json.dumps({"type": "s3", "access_key_id": name}))
    environ = {"AWS_ACCESS_KEY_ID": "own", "STORAGE_OVERRIDE_CONFIG": '{"bucket": "else"}'}
    sources = DeclaredSources("", str(tmp_path), environ)

    one = sources.order(declared("s3://models/a", store="one"))
    other = DeclaredModel(
        id="b", name="b", version="1", uri="s3://models/b", store="two", store_parameters={"region": "x"}
    )
    two = sources.order(other)
    none = sources.order(declared("s3://models/c"))

    assert "one" == json.loads(one.environ["STORAGE_CONFIG"])["access_key_id"]
    assert "STORAGE_OVERRIDE_CONFIG" not in one.environ
    assert {"region": "x"} == json.loads(two.environ["STORAGE_OVERRIDE_CONFIG"])
    assert environ == none.environ


def test_a_store_that_is_not_described_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the store 'gone' cannot be read") as raised:
        DeclaredSources("", str(tmp_path), {}).order(declared("s3://models/a", store="gone"))

    assert "Secret storage-config" in raised.value.remedy


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "file:///mnt/sources", "file:///mnt/sources/pvc", "pvc://a/b"])
def test_nothing_but_files_of_mounted_volumes_is_taken_from_the_machine(uri: str) -> None:
    with pytest.raises(StorageError, match="nothing that a running server can fetch"):
        DeclaredSources("/mnt/sources", "", {}).order(declared(uri))


def test_links_are_followed_within_the_volume_only() -> None:
    order = DeclaredSources("/mnt/sources", "", {}).order(declared("file:///mnt/sources/pvc/disk/a/m.onnx"))

    assert "/mnt/sources/pvc/disk" == str(order.options.link_root)
    assert "/mnt/sources/pvc/disk/a/m.onnx" == order.uri.path
