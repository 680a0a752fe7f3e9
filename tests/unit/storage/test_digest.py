"""Digests of files and trees."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

import pillion.storage.digest
from pillion.storage import StorageError, parse_digest, tree_digest
from pillion.storage.digest import file_sha256

if TYPE_CHECKING:
    from pathlib import Path


def test_a_digest_is_accepted_with_and_without_its_algorithm() -> None:
    assert "sha256:" + "ab" * 32 == parse_digest("AB" * 32) == parse_digest("sha256:" + "ab" * 32)


@pytest.mark.parametrize("text", ["", "sha256:", "md5:" + "ab" * 16, "sha256:" + "g" * 64, "ab" * 31])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(StorageError, match="sha256sum"):
        parse_digest(text)


def test_a_file_has_the_digest_that_sha256sum_prints(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"x" * 3_000_000)

    assert hashlib.sha256(b"x" * 3_000_000).hexdigest() == file_sha256(path)


def test_the_digest_of_a_tree_does_not_depend_on_the_order_of_its_files() -> None:
    files = [("b", 1, "11" * 32), ("a/c", 2, "22" * 32), ("é", 3, "33" * 32)]

    assert tree_digest(files) == tree_digest(reversed(files))


@pytest.mark.skipif(shutil.which("bash") is None, reason="the documented shell lines need bash")
def test_the_documented_shell_lines_give_the_digest_of_a_tree(tmp_path: Path) -> None:
    for name, content in {"a": "1", "sub/é ü": "22", "sub/B": "", "z": "333"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    documented = re.search(
        r"^      cd DIRECTORY.*?sha256sum$", pillion.storage.digest.__doc__ or "", re.DOTALL | re.MULTILINE
    )
    assert documented is not None

    printed = subprocess.run(
        ["bash", "-c", documented[0].replace("DIRECTORY", str(tmp_path))], capture_output=True, text=True, check=True
    ).stdout

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    expected = tree_digest((f.relative_to(tmp_path).as_posix(), f.stat().st_size, file_sha256(f)) for f in files)
    assert expected == f"sha256:{printed.split()[0]}"
