"""Wheels of the target platform, fetched by pip and unpacked into a layer, without running anything of them.

pip chooses and verifies; it is told another platform and Python than its own, which it can do for wheels only. What it
would have installed is read out of the archives here: pip would write paths of this machine into scripts and records.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from typing import IO, TYPE_CHECKING, Final

from pillion.image.documents import DEPENDENCIES
from pillion.image.layer import Entry
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pillion.oci.content import Platform

__all__ = ["fetch", "unpacked"]

_NEWEST_GLIBC: Final = 36
"""Of the base: Debian 12 has glibc 2.36."""
_OLDEST_GLIBC: Final = 17
_LEGACY: Final = {"x86_64": ("manylinux2014", "manylinux2010", "manylinux1"), "aarch64": ("manylinux2014",)}


def fetch(requirements: str, folder: Path, *, platform: Platform, python: str, beside: Path) -> tuple[Path, ...]:
    """Fetch the wheels of a lock.

    Args:
        requirements: the lock's text, each line pinned and hashed.
        folder: where they are put; empty.
        platform: what they are for.
        python: the image's Python, as ``3.11``.
        beside: a folder of wheels of the user's own, looked into where it is there.

    Raises:
        ImageError: one has no wheel for the platform, another content than the lock says, or the index does not answer.
    """
    if importlib.util.find_spec("pip") is None:
        raise ImageError(f"fetching dependencies needs pip beside {sys.executable}: python -m ensurepip", usage=True)
    lock = folder / "requirements.lock"
    lock.write_text(requirements, encoding="utf-8")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}",
        *(f"--platform={tag}" for tag in platform_tags(platform)),
        *([f"--find-links={beside}"] if beside.is_dir() else []),
        f"--dest={folder}", f"--requirement={lock}",
    ]  # fmt: skip  # what it is, what is asked of it, where from, where to
    done = subprocess.run(  # noqa: S603 - this interpreter and its pip
        command, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode != 0:
        raise ImageError(explained(done.stdout + done.stderr, platform, python))
    return tuple(sorted(folder.glob("*.whl")))


def platform_tags(platform: Platform) -> tuple[str, ...]:
    """The tags of wheels that run on the base, the newest first. Source: PEP 600."""
    versions = range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1)
    machine = platform.machine
    return (
        *(f"manylinux_2_{version}_{machine}" for version in versions),
        *(f"{name}_{machine}" for name in _LEGACY[machine]),
        f"linux_{machine}",
    )


def explained(output: str, platform: Platform, python: str) -> str:
    """What pip's output means, in one sentence with a remedy."""
    if "Retrying (" in output or "Temporary failure" in output or "NewConnectionError" in output:
        return (
            "the package index does not answer: check the network, or name a mirror in pip's configuration "
            f"(pip config set global.index-url URL); pip says: {_last_error(output)}"
        )
    missing = re.search(r"No matching distribution found for ([^\s;]+)", output)
    if missing is not None:
        return (
            f"{missing[1]} has no wheel for {platform} and Python {python}, and nothing is compiled here: lock a "
            f"version that has one, or build one on {platform} (pip wheel {missing[1]} -w wheels), put it into "
            "the project's folder wheels/ and its hash (pip hash) into the lock"
        )
    changed = re.search(r"^\s+(\S+==\S+) from ", output, re.MULTILINE)
    if "DO NOT MATCH THE HASHES" in output:
        of = changed[1] if changed else "a package"
        return f"{of} has another content than the lock says: it was changed after it was locked, so it is not used"
    return f"the dependencies cannot be fetched: {_last_error(output)}"


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["nothing"])[-1].removeprefix("ERROR: ")


def unpacked(wheels: Sequence[Path]) -> Iterator[Entry]:
    """What the wheels hold, where Python finds it. Scripts are left out: an image has one entry point.

    Source: "Binary distribution format" of the Python packaging specifications.

    Raises:
        ImageError: an archive that is none, or that leads out of its folder.
    """
    for wheel in wheels:
        try:
            archive = zipfile.ZipFile(wheel)
        except (OSError, zipfile.BadZipFile) as error:
            raise ImageError(f"{wheel.name} is no wheel: {error}") from None
        for member in archive.infolist():
            place = installed_at(member.filename, wheel.name)
            if place is not None and not member.is_dir():
                executable = bool((member.external_attr >> 16) & 0o111)
                opened: functools.partial[IO[bytes]] = functools.partial(archive.open, member)
                yield Entry(f"{DEPENDENCIES}/{place}", member.file_size, executable, opened)


def installed_at(name: str, wheel: str) -> str | None:
    """Where a file of a wheel belongs below the folder of packages; None for what is not installed there.

    Raises:
        ImageError: it leads out of the folder.
    """
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise ImageError(f"{wheel} holds {name!r}, which leads out of its folder")
    if parts[0].endswith(".data") and len(parts) > 2:
        return "/".join(parts[2:]) if parts[1] in {"purelib", "platlib"} else None
    return name
