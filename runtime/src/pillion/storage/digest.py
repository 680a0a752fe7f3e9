"""Digests of artifacts: ``sha256:`` and 64 lower-case hexadecimal digits.

* A single file, and an archive before it is unpacked: the SHA-256 of its bytes, what ``sha256sum`` prints.
* A directory (a prefix, a directory of a volume): the SHA-256 of its canonical listing. The listing has one line
  for each regular file, ``<sha256> <size in bytes> <relative path>\\n``, with ``/`` between the parts of a path, UTF-8,
  sorted by the bytes of the path. Modes, times, owners and empty directories do not count. In a shell::

      cd DIRECTORY && find . -type f -printf '%P\\n' | LC_ALL=C sort | while IFS= read -r f; do
        printf '%s %s %s\\n' "$(sha256sum < "$f" | cut -c1-64)" "$(stat -c %s "$f")" "$f"; done | sha256sum
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from pillion.storage.errors import Reason, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["file_sha256", "parse_digest", "tree_digest"]

_DIGEST: Final = re.compile(r"(?:sha256[:=])?([0-9a-fA-F]{64})")
_READ_BYTES: Final = 1 << 20


def parse_digest(text: str) -> str:
    """The canonical form ``sha256:<hex>`` of a digest given by a user; the algorithm's name may be left out.

    Raises:
        StorageError: `Reason.INVALID_SETTING`, where the text is not a SHA-256 digest.
    """
    match = _DIGEST.fullmatch(text.strip())
    if match is None:
        raise StorageError(
            Reason.INVALID_SETTING,
            f"the digest {text[:100]!r} is not a SHA-256 digest",
            remedy="write 'sha256:' and 64 hexadecimal digits, as sha256sum prints them",
        )
    return f"sha256:{match[1].lower()}"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal, read in pieces of 1 MiB.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    buffer = bytearray(_READ_BYTES)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()


def tree_digest(files: Iterable[tuple[str, int, str]]) -> str:
    """The digest of a directory, from (relative path, size in bytes, hexadecimal SHA-256) of each of its files."""
    digest = hashlib.sha256()
    for path, size, sha256 in sorted(files, key=lambda file: file[0].encode()):
        digest.update(f"{sha256} {size} {path}\n".encode())
    return f"sha256:{digest.hexdigest()}"
