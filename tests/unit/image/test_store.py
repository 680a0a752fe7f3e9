from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from pillion.image.documents import Layer
from pillion.image.expiry import Kept, expendable
from pillion.image.store import BlobStore
from pillion.oci.content import LAYER_GZIP, Descriptor

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
HOUR, DAY = 3_600.0, 86_400.0


def kept(name: str, *, days: float, size: int = 10) -> Kept:
    return Kept(name, size, NOW - days * DAY)


@pytest.mark.parametrize(
    ("gone", "blobs"),
    [
        ((), [kept("new", days=1), kept("old", days=29)]),
        (("old",), [kept("new", days=1), kept("old", days=31)]),
        (("b", "c"), [kept("a", days=1, size=90), kept("b", days=2, size=20), kept("c", days=3, size=20)]),
        # What still fits is kept, although something newer and larger went.
        (("b",), [kept("a", days=1, size=60), kept("b", days=2, size=70), kept("c", days=3, size=30)]),
        ((), [kept("running", days=0.01, size=1000), kept("also", days=0.02, size=1000)]),
    ],
)
def test_the_longest_unused_goes_until_the_rest_fits_and_what_is_in_use_stays(
    gone: tuple[str, ...], blobs: list[Kept]
) -> None:
    assert gone == expendable(blobs, now=NOW, most_bytes=100)


def made(store: BlobStore, key: str, content: bytes, *, used: float) -> Descriptor:
    """A layer that some build made of the inputs `key`."""
    descriptor = Descriptor(LAYER_GZIP, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
    path = store.take(descriptor, [content], "here")
    os.utime(path, (used, used))
    store.remember(key, Layer(descriptor, descriptor.digest, "dependencies"))
    return descriptor


def test_a_layer_that_is_let_go_is_made_again_and_one_that_was_used_is_found(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    made(store, "old", b"old", used=NOW - 40 * DAY)
    recent = made(store, "recent", b"recent", used=NOW - 2 * DAY)

    freed = store.prune(now=NOW)

    assert 3 == freed
    assert store.layer("old") is None
    assert ["recent.json"] == [path.name for path in (tmp_path / "layers").iterdir()]
    assert store.find(recent) is not None


def test_finding_a_blob_counts_as_its_use(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    descriptor = made(store, "key", b"content", used=1_000.0)

    path = store.find(descriptor)

    assert path is not None
    assert path.stat().st_mtime > 1_000_000_000


def test_what_a_killed_build_left_goes_after_a_day(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    left, running = tmp_path / "scratch" / "left", tmp_path / "scratch" / "running"
    for folder, age in ((left, 2 * DAY), (running, HOUR)):
        folder.mkdir()
        (folder / "blob").touch()
        os.utime(folder, (NOW - age, NOW - age))

    store.prune(now=NOW)

    assert (False, True) == (left.exists(), running.exists())
