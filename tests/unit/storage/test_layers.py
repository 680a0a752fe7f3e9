"""Layers of images, honest and hostile: what the folder with the model comes to."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from pillion.storage import FetchOptions, Reason, StorageError, extraction
from pillion.storage.layers import _zstd, unpack_artifact, unpack_image

if TYPE_CHECKING:
    from pathlib import Path

Member = str | tuple[str, str, bytes]
"""A file (what follows ``=`` is its content), a folder (it ends in ``/``), or a link: name, target, type."""


def layer(*members: Member, compressed: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.linkname, info.type = member[1], member[2]
                tar.addfile(info)
                continue
            name, _, content = member.partition("=")
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    return gzip.compress(buffer.getvalue()) if compressed else buffer.getvalue()


def unpacked(folder: Path, *layers: bytes, options: FetchOptions | None = None) -> dict[str, str]:
    """What the files of the image come to, the lowest layer first."""
    paths = []
    for number, data in enumerate(layers):
        paths.append(folder / f"{number}")
        paths[-1].write_bytes(data)
    tree = folder / "dest/.partial/tree"
    files = unpack_image(paths, tree, options or FetchOptions(), threading.Event())
    found = {path.relative_to(tree).as_posix(): path for path in tree.rglob("*") if path.is_file()}
    assert found.keys() == {file.path for file in files}
    assert not any(path.is_symlink() for path in tree.rglob("*"))
    return {name: path.read_text() for name, path in found.items()}


IMAGES: dict[str, tuple[list[bytes], dict[str, str]]] = {
    "only the folder": (
        [layer("etc/passwd=x", "models/", "models/a=1", "./models/sub/b=2", "/models/c=3", "modelsx/d=4")],
        {"a": "1", "sub/b": "2", "c": "3"},
    ),
    "an upper file wins": ([layer("models/a=old", "models/b=b"), layer("models/a=new")], {"a": "new", "b": "b"}),
    "an empty layer twice": ([layer(), layer("models/a=1"), layer()], {"a": "1"}),
    "a tar as it is": ([layer("models/a=1", compressed=False)], {"a": "1"}),
    "a file is taken away": ([layer("models/a=1", "models/b=2"), layer("models/.wh.a")], {"b": "2"}),
    "it comes again": ([layer("models/a=1"), layer("models/.wh.a"), layer("models/a=3")], {"a": "3"}),
    "a whiteout in its own layer": ([layer("models/a=1"), layer("models/.wh.a", "models/a=2")], {"a": "2"}),
    "a folder is taken away": ([layer("models/s/a=1", "models/b=2"), layer("models/.wh.s")], {"b": "2"}),
    "all of it is taken away": ([layer("models/a=1"), layer(".wh.models"), layer("models/b=2")], {"b": "2"}),
    "an opaque folder": (
        [layer("models/s/a=1", "models/b=2"), layer("models/s/", "models/s/.wh..wh..opq", "models/s/c=3")],
        {"s/c": "3", "b": "2"},
    ),
    "an opaque root": ([layer("models/a=1"), layer(".wh..wh..opq", "models/b=2")], {"b": "2"}),
    "a file becomes a folder": ([layer("models/a=1"), layer("models/a/b=2")], {"a/b": "2"}),
    "a folder becomes a file": ([layer("models/a/b=1"), layer("models/a=2")], {"a": "2"}),
    "a file between two folders": (
        [layer("models/s/a=1"), layer("models/s=2"), layer("models/s/b=3")], {"s/b": "3"},
    ),
    "a link in its place between two folders": (
        [layer("models/a=1"), layer(("models", "srv", tarfile.SYMTYPE)), layer("models/b=3")], {"b": "3"},
    ),
    "a folder stays": (
        [layer("models/s/", "models/s/a=1"), layer("models/s/", "models/s/b=2")], {"s/a": "1", "s/b": "2"},
    ),
    "links inside": (
        [
            layer(
                "models/v1/a=1",
                ("models/now", "v1/a", tarfile.SYMTYPE),
                ("models/v1/up", "../now", tarfile.SYMTYPE),
                ("models/root", "/models/v1/a", tarfile.SYMTYPE),
                ("models/hard", "models/v1/a", tarfile.LNKTYPE),
            )
        ],
        {"v1/a": "1", "now": "1", "v1/up": "1", "root": "1", "hard": "1"},
    ),
    "a link into a layer below": (
        [layer("models/a=1"), layer(("models/b", "a", tarfile.SYMTYPE))],
        {"a": "1", "b": "1"},
    ),
    "devices elsewhere": ([layer("models/a=1", ("dev/null", "", tarfile.CHRTYPE))], {"a": "1"}),
}  # fmt: skip


@pytest.mark.parametrize("case", IMAGES)
def test_the_folder_of_the_model_is_what_the_layers_leave_of_it(case: str, tmp_path: Path) -> None:
    layers, expected = IMAGES[case]

    assert expected == unpacked(tmp_path, *layers)


REFUSED: dict[str, tuple[list[bytes], Reason, str]] = {
    "climbs": ([layer("models/../../evil=x")], Reason.UNSAFE_ARCHIVE, "'..'"),
    "climbs elsewhere": ([layer("models/a=1", "etc/../../evil=x")], Reason.UNSAFE_ARCHIVE, "'..'"),
    "a link out": ([layer(("models/a", "../etc/passwd", tarfile.SYMTYPE))], Reason.UNSAFE_ARCHIVE, "leads out"),
    "a link far out": ([layer(("models/a", "../../../../x", tarfile.SYMTYPE))], Reason.UNSAFE_ARCHIVE, "leads out"),
    "an absolute link": ([layer(("models/a", "/etc/passwd", tarfile.SYMTYPE))], Reason.UNSAFE_ARCHIVE, "leads out"),
    "a hard link out": ([layer(("models/a", "etc/passwd", tarfile.LNKTYPE))], Reason.UNSAFE_ARCHIVE, "leads out"),
    "a link to nothing": ([layer("models/b=1", ("models/a", "c", tarfile.SYMTYPE))], Reason.UNSAFE_ARCHIVE, "nothing"),
    "through a link": (
        [layer(("models/a", "../etc", tarfile.SYMTYPE), "models/a/b=1")], Reason.UNSAFE_ARCHIVE, "leads out",
    ),
    "a hard link to what is replaced": (
        [layer("models/a=1", ("models/b", "models/a", tarfile.LNKTYPE)), layer("models/a=2")],
        Reason.UNSAFE_ARCHIVE, "upper layer replaces",
    ),
    "a device": ([layer(("models/a", "", tarfile.CHRTYPE))], Reason.UNSAFE_ARCHIVE, "a device"),
    "a link in its place": ([layer("srv/a=1", ("models", "srv", tarfile.SYMTYPE))], Reason.UNSAFE_ARCHIVE, "no folder"),
    "twice": ([layer("models/a=1", "models/a=2")], Reason.UNSAFE_ARCHIVE, "twice"),
    "ours": ([layer("models/.partial/owner=x")], Reason.UNSAFE_ARCHIVE, "reserved"),
    "no folder": ([layer("app/a=1")], Reason.OBJECT_NOT_FOUND, "no files in /models"),
    "an empty folder": ([layer("models/", "models/s/")], Reason.OBJECT_NOT_FOUND, "no files in /models"),
    "taken away": ([layer("models/a=1"), layer("models/.wh.a")], Reason.OBJECT_NOT_FOUND, "no files in /models"),
    "cut short": ([layer("models/a=" + "x" * 5000)[:-20]], Reason.CORRUPT_ARCHIVE, "cannot be read"),
    "no tar": ([b"<html>" * 200], Reason.CORRUPT_ARCHIVE, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_that_is_not_safe_or_not_whole_is_refused(case: str, tmp_path: Path) -> None:
    layers, reason, says = REFUSED[case]

    with pytest.raises(StorageError) as caught:
        unpacked(tmp_path, *layers)

    assert (reason, True) == (caught.value.reason, says in caught.value.message), caught.value
    assert caught.value.remedy
    assert not (tmp_path.parent / "evil").exists()


def test_what_is_only_passed_over_counts_as_unpacked(tmp_path: Path) -> None:
    bomb = layer("models/a=1", "usr/zeros=" + "0" * (66 << 20))

    with pytest.raises(StorageError) as caught:
        unpacked(tmp_path, bomb, options=FetchOptions(max_unpack_ratio=1))

    assert Reason.TOO_LARGE == caught.value.reason


def test_headers_of_nothing_count_as_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flood = gzip.compress(tarfile.TarInfo("usr/same").tobuf() * 40_000, 1)
    monkeypatch.setattr(extraction, "_ALWAYS_ALLOWED", 16 << 20)

    with pytest.raises(StorageError) as caught:
        unpacked(tmp_path, flood, options=FetchOptions(max_unpack_ratio=1))

    assert Reason.TOO_LARGE == caught.value.reason


def test_whiteouts_count_as_members_since_they_are_remembered(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        unpacked(tmp_path, layer(*(f"models/.wh.{number}" for number in range(30))), options=FetchOptions(max_files=10))

    assert (Reason.TOO_LARGE, True) == (caught.value.reason, "10 files" in caught.value.message), caught.value


def test_what_a_whiteout_holds_counts_as_unpacked(tmp_path: Path) -> None:
    bomb = layer("models/.wh.a=" + "0" * (66 << 20))

    with pytest.raises(StorageError) as caught:
        unpacked(tmp_path, bomb, options=FetchOptions(max_unpack_ratio=1))

    assert Reason.TOO_LARGE == caught.value.reason


def test_a_layer_that_an_image_names_again_and_again_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(layer("models/a=1", "usr/zeros=" + "0" * (1 << 20)))

    files = unpack_image([path] * 10_000, tmp_path / "dest/.partial/tree", FetchOptions(), threading.Event())

    assert ["a"] == [file.path for file in files]


def test_an_artifacts_tars_lie_beside_its_files_and_have_no_whiteouts(tmp_path: Path) -> None:
    (tmp_path / "tar").write_bytes(layer("weights/a=1", "weights/.wh.b=kept"))
    (tmp_path / "file").write_bytes(b"{}")
    tree = tmp_path / "dest/.partial/tree"

    files = unpack_artifact(
        [tmp_path / "tar"], [(tmp_path / "file", "config.json")], tree, FetchOptions(), threading.Event()
    )

    assert ["config.json", "weights/.wh.b", "weights/a"] == [file.path for file in files]


def test_a_layer_in_zstd_is_read(tmp_path: Path) -> None:
    data = _zstd().compress(layer("models/a=1", compressed=False))

    assert {"a": "1"} == unpacked(tmp_path, data)


@pytest.mark.parametrize("cut", [5, -3])
def test_a_layer_in_zstd_that_is_cut_short_is_refused(cut: int, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        unpacked(tmp_path, _zstd().compress(layer("models/a=" + "xyz" * 5000, compressed=False))[:cut])

    assert Reason.CORRUPT_ARCHIVE == caught.value.reason


def test_a_layer_in_zstd_names_the_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(StorageError, match=r"backports\.zstd"):
        unpacked(tmp_path, b"\x28\xb5\x2f\xfd rest")
