"""Names in archives and below prefixes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.storage import Reason, StorageError
from pillion.storage.names import resolve_link, safe_name
from tests.unit.storage.hostile import hostile_names

ROOT = Path("/srv/models/iris")


def stays_inside(name: str) -> bool:
    """Judged by the operating system's rules, not by ours."""
    parts = Path(ROOT, name).parts
    return (
        ".." not in parts
        and Path(ROOT, name).is_relative_to(ROOT)
        and "\0" not in name
        and parts[: len(ROOT.parts)] == ROOT.parts
    )


def test_none_of_20000_hostile_names_escapes() -> None:
    escaped, refused, reasons = [], 0, set()
    for name in hostile_names(20_000):
        try:
            safe = safe_name(name)
        except StorageError as error:
            reasons.add(error.reason)
            refused += 1
        else:
            if not stays_inside(safe) or safe.split("/")[0].lower() in {".partial", ".pillion-artifact.json"}:
                escaped.append(name)

    assert [] == escaped
    assert {Reason.UNSAFE_ARCHIVE} == reasons
    assert refused > 10_000  # else the corpus is not hostile


@given(st.text(max_size=60))
def test_any_text_is_refused_or_stays_inside(name: str) -> None:
    try:
        safe = safe_name(name)
    except StorageError:
        return
    assert stays_inside(safe)
    assert safe == safe_name(safe)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        ("./a/b", "a/b"),
        ("a//b/", "a/b"),
        ("./", ""),
        ("...", "..."),
        ("a..b/.c", "a..b/.c"),
        ("é/ü", "é/ü"),
    ],
)
def test_an_ordinary_name_is_kept(name: str, expected: str) -> None:
    assert expected == safe_name(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("/etc/passwd", "absolute"),
        ("C:/x", "absolute"),
        ("a/../../x", "'..'"),
        ("a\\b", "backslash"),
        ("a\x00", "control"),
        ("\ud800", "UTF-8"),
        ("x" * 256, "part longer"),
        ("x/" * 600, "longer than 1024"),
        ("x/" * 70, "deep"),
        (".partial/x", "reserved"),
        (".pillion-artifact.json", "reserved"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_name(name: str, word: str) -> None:
    with pytest.raises(StorageError) as caught:
        safe_name(name)

    assert word in caught.value.message


FILES = ("model.bin", "blobs/ab", "d/e/f")


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ({"l": "model.bin"}, "model.bin"),
        ({"l": "snapshots/../blobs/ab"}, "blobs/ab"),
        ({"l": "m", "m": "d/e/f"}, "d/e/f"),
    ],
)
def test_a_link_inside_the_archive_leads_to_its_file(links: dict[str, str], expected: str) -> None:
    assert expected == resolve_link("l", links, FILES)


@pytest.mark.parametrize(
    ("links", "word"),
    [
        ({"l": "/etc/passwd"}, "absolute"),
        ({"l": "../x"}, "out of"),
        ({"l": "d/../../x/model.bin"}, "out of"),
        ({"l": "nothing"}, "nothing"),
        ({"l": "d"}, "a directory"),
        ({"l": "."}, "a directory"),
        ({"l": "m", "m": "l"}, "circles"),
        ({"l": "m", "m": "../../model.bin"}, "out of"),
        ({"l": "m/../model.bin/..", "m": "d"}, "directory"),
        ({"l": ".partial/owner"}, "reserved"),
    ],
)
def test_a_link_anywhere_else_is_refused(links: dict[str, str], word: str) -> None:
    with pytest.raises(StorageError) as caught:
        resolve_link("l", links, FILES)

    assert word in caught.value.message


def test_none_of_10000_hostile_link_targets_leads_anywhere_but_to_a_file_of_the_archive() -> None:
    reached = set()
    for target in hostile_names(10_000, seed=7):
        try:
            reached.add(resolve_link("l", {"l": target}, FILES))
        except StorageError:
            continue

    assert reached <= set(FILES)
