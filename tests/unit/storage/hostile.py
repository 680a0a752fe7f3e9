"""Names that try to get out of a directory, generated: what attackers write, combined and repeated."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLIMBS = (
    "..",
    "../..",
    "..//..",
    ".././..",
    "a/../..",
    "a/b/../../..",
    "./..",
    "a/./../..",
    "..\\..",
    "..\\",
    "a\\..\\..",
)
_ROOTS = (
    "/",
    "//",
    "///",
    "/./",
    "/../",
    "C:",
    "C:/",
    "c:\\",
    "\\\\host\\share\\",
    "\\",
    "~/",
    "file:///",
    "/proc/self/root/",
    "/dev/fd/3/",
)
_TAILS = (
    "etc/passwd",
    "escape",
    "tmp/x",
    ".ssh/authorized_keys",
    "escape/",
    ".",
    "",
    "a\x00b",
    "a\nb",
    "\x7f",
    "é",
    "\u202egpj.exe",
    "\udcff",
    "x" * 300,
)
_OWN = (
    ".partial/owner",
    ".partial/record.json",
    ".pillion-artifact.json",
    ".PARTIAL/x",
    "./.partial/x",
    ".Pillion-Artifact.json",
)
_PIECES = (
    "..",
    ".",
    "",
    "a",
    "b",
    "...",
    "....",
    ". .",
    "..;",
    "%2e%2e",
    "..%2f",
    "\u2025",
    "\uff0e\uff0e",
    "a b",
    "-rf",
    "CON",
    "x\\y",
    "\t",
)


def hostile_names(count: int, seed: int = 20) -> Iterator[str]:
    """`count` different names, the deliberate ones first, then random combinations of the same pieces."""
    seen: set[str] = set()
    for name in itertools.chain(_deliberate(), _random(random.Random(seed))):
        if name not in seen:
            seen.add(name)
            yield name
        if len(seen) >= count:
            return


def _deliberate() -> Iterator[str]:
    yield from _OWN
    for root, tail in itertools.product(_ROOTS, _TAILS):
        yield root + tail
    for climb, tail in itertools.product(_CLIMBS, _TAILS):
        yield f"{climb}/{tail}"
        yield f"ok/{climb}/{climb}/{tail}"


def _random(source: random.Random) -> Iterator[str]:
    while True:
        parts = [source.choice(_PIECES + _CLIMBS) for _ in range(source.randint(1, 9))]
        prefix = source.choice(("", "", "", *_ROOTS))
        yield prefix + source.choice(("/", "/", "//")).join(parts) + source.choice(("", "", "/", *_TAILS))
