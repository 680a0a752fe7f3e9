"""Locks are pinned and hashed, or refused by line."""

from __future__ import annotations

import pytest

from pillion.image.lock import read_lock
from pillion.oci.errors import ImageError

HASH = f"sha256:{'0' * 64}"


def test_continued_lines_comments_and_pillion_itself_are_read_as_pip_means_them() -> None:
    first, second = HASH, f"{HASH[:-1]}1"
    locked = f"tqdm==4.67.1 \\\n    --hash={first} \\\n    --hash={second}\n    # via mood\n"
    text = f"# made by a tool\n{locked}pillion==0.1.0\n"

    lock = read_lock(text, source="requirements.lock")

    assert ("tqdm",) == lock.names
    assert f"tqdm==4.67.1 --hash={first} --hash={second}\n" == lock.text


def test_a_lock_of_nothing_but_pillion_is_empty() -> None:
    assert ("", ()) == (
        (lock := read_lock("--index-url https://index.example\npillion==1\n", source="x")).text,
        lock.names,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tqdm>=4", "x:1: tqdm>=4 is not pinned"),
        ("\ntqdm==4.67.1", "x:2: tqdm==4.67.1 has no --hash"),
        ("-e .", "x:1: -e cannot stand in a lock"),
        ("-r other.txt", "x:1: -r cannot stand in a lock"),
    ],
)
def test_what_two_builds_could_read_differently_is_refused_with_the_command_that_locks(
    text: str, expected: str
) -> None:
    with pytest.raises(ImageError) as caught:
        read_lock(text, source="x")

    assert expected in str(caught.value)
    assert "uv pip compile --generate-hashes" in str(caught.value)
