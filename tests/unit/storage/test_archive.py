"""Archives, honest and hostile: what comes out of them, and that nothing comes out beside them."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from pillion.storage import FetchOptions, Reason, StorageError
from pillion.storage.archive import archive_format, unpack
from tests.unit.storage.hostile import hostile_names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def tar_of(members: Iterable[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]  # the mode is a parameter here
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def zip_of(members: Iterable[tuple[zipfile.ZipInfo | str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content, compress_type=compression)
    return buffer.getvalue()


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


class Jail:
    """A directory to unpack in, of whose surroundings every change is noticed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.archive = root / "in" / "archive"
        self.tree = root / "jail" / "inner" / "tree"
        self.archive.parent.mkdir()
        self.tree.parent.mkdir(parents=True)

    def unpack(self, content: bytes, kind: str = "tar", **options: object) -> dict[str, bytes]:
        self.archive.write_bytes(content)
        found = unpack(self.archive, kind, self.tree, FetchOptions(**options))  # type: ignore[arg-type]  # the test's own keywords
        return {file.path: (self.tree / file.path).read_bytes() for file in found}

    def refusal(self, content: bytes, kind: str = "tar", **options: object) -> StorageError:
        with pytest.raises(StorageError) as caught:
            self.unpack(content, kind, **options)
        return caught.value

    def outside(self) -> set[str]:
        """Everything that is neither below the tree nor the archive itself."""
        return {
            os.path.join(directory, name)  # noqa: PTH118  (os.walk, because Path.rglob follows no odd names on 3.11)
            for directory, names, files in os.walk(self.root)
            for name in (*names, *files)
            if not directory.startswith(str(self.tree))
            and os.path.join(directory, name) not in {str(self.tree), str(self.archive)}  # noqa: PTH118  (as above)
        }


@pytest.fixture
def jail(tmp_path: Path) -> Jail:
    return Jail(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.tar", "tar"),
        ("m.TAR.GZ", "tgz"),
        ("m.tgz", "tgz"),
        ("m.zip", "zip"),
        ("m.skops", None),
        ("m.gz", None),
        ("tar", None),
    ],
)
def test_the_format_is_known_by_the_ending_of_the_name(name: str, expected: str | None) -> None:
    assert expected == archive_format(name)


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_files_and_directories_come_out_as_they_went_in(jail: Jail, kind: str) -> None:
    files = {"model.bin": b"m" * 200_000, "sub/deep/é.txt": b"x", "empty": b""}
    if kind == "zip":
        content = zip_of([("sub/", b""), *files.items()])
    else:
        members = [
            (member("./"), b""),
            (member("sub", tarfile.DIRTYPE), b""),
            *((member(n), c) for n, c in files.items()),
        ]
        members[0][0].type = tarfile.DIRTYPE
        content = tar_of(members, "w:gz" if kind == "tgz" else "w")

    assert files == jail.unpack(content, kind)


def test_modes_are_reduced_to_readable_and_executable(jail: Jail) -> None:
    jail.unpack(tar_of([(member("run", mode=0o4755), b"x"), (member("secret", mode=0o600), b"x")]))

    assert ["0o755", "0o644"] == [oct(stat.S_IMODE((jail.tree / name).stat().st_mode)) for name in ("run", "secret")]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_links_inside_the_archive_become_the_files_they_lead_to(jail: Jail, kind: str) -> None:
    if kind == "tar":
        content = tar_of(
            [
                (member("snapshots/1/model", tarfile.SYMTYPE, "../../blobs/ab"), b""),
                (member("blobs/ab"), b"weights"),
                (member("hard", tarfile.LNKTYPE, "blobs/ab"), b""),
            ]
        )
    else:
        content = zip_of(
            [
                (zip_link("snapshots/1/model"), b"../../blobs/ab"),
                ("blobs/ab", b"weights"),
                (zip_link("hard"), b"blobs/ab"),
            ]
        )

    assert {"snapshots/1/model": b"weights", "blobs/ab": b"weights", "hard": b"weights"} == jail.unpack(content, kind)
    assert not (jail.tree / "snapshots/1/model").is_symlink()


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "../../in/archive"), (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "../in/archive"), (tarfile.SYMTYPE, "d/../../x"), (tarfile.SYMTYPE, "l"),
        (tarfile.SYMTYPE, "."),
    ],
)  # fmt: skip
def test_a_link_that_leads_anywhere_else_is_refused(jail: Jail, kind: bytes, link: str) -> None:
    before = jail.outside()

    assert (
        jail.refusal(tar_of([(member("model"), b"x"), (member("l", kind, link), b"")])).reason == Reason.UNSAFE_ARCHIVE
    )
    assert before == jail.outside()


def test_nothing_is_written_through_a_link(jail: Jail) -> None:
    content = tar_of([(member("d", tarfile.SYMTYPE, str(jail.root)), b""), (member("d/escape"), b"x")])

    assert jail.refusal(content).reason == Reason.UNSAFE_ARCHIVE
    assert not (jail.root / "escape").exists()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z"])
def test_devices_and_pipes_are_not_made(jail: Jail, kind: bytes) -> None:
    """Tar's rules make members of unknown types regular files; nothing else may come out."""
    with contextlib.suppress(StorageError):
        jail.unpack(tar_of([(member("dev", kind), b"")]))

    assert all(stat.S_ISREG(path.lstat().st_mode) for path in jail.tree.iterdir())


@pytest.mark.slow
def test_none_of_10000_hostile_archives_writes_outside_its_directory(jail: Jail) -> None:
    """Each name as a file, a directory, a link and a link's target, in tar and zip."""
    before = jail.outside()
    kinds = (tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)
    source = random.Random(3)
    refused, reasons = 0, set()
    for number, name in enumerate(hostile_names(10_000, seed=11)):
        if number % 5 == 4 and "\udcff" not in name and "\x00" not in name:
            content, kind = (
                zip_of([(name, b"x"), ("ok", b"x")], zipfile.ZIP_STORED) if name else zip_of([("a", b"")]),
                "zip",
            )
        else:
            entries = [(member(name, source.choice(kinds), link="ok"), b"")]
            if source.random() < 0.4:
                entries = [
                    (member("ok"), b"x"),
                    (member("l", source.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), link=name), b""),
                ]
                entries.append((member("l/escape"), b""))
            content, kind = tar_of(entries), "tar"
        try:
            jail.unpack(content, kind)
        except StorageError as error:
            reasons.add(error.reason)
            refused += 1
        assert not any(path.is_symlink() for path in jail.tree.iterdir())
        jail.tree.rename(jail.root / "jail" / "inner" / "old")
        shutil.rmtree(jail.root / "jail" / "inner" / "old")

    assert before == jail.outside()
    assert reasons <= {Reason.UNSAFE_ARCHIVE, Reason.CORRUPT_ARCHIVE}
    assert refused > 6_000  # else the corpus is not hostile


def test_a_name_that_is_there_twice_is_refused(jail: Jail) -> None:
    assert "twice" in jail.refusal(tar_of([(member("a"), b"1"), (member("./a"), b"2")])).message


def test_a_file_that_is_also_a_directory_is_refused(jail: Jail) -> None:
    assert jail.refusal(tar_of([(member("a"), b"1"), (member("a/b"), b"2")])).reason == Reason.UNSAFE_ARCHIVE


def test_an_archive_without_files_is_refused(jail: Jail) -> None:
    assert jail.refusal(tar_of([])).reason == Reason.CORRUPT_ARCHIVE


def test_more_files_than_allowed_are_refused(jail: Jail) -> None:
    assert jail.refusal(tar_of([(member(f"f{n}"), b"") for n in range(6)]), max_files=5).reason == Reason.TOO_LARGE


def test_more_directories_than_allowed_are_refused(jail: Jail) -> None:
    content = tar_of([(member(f"d{n}", tarfile.DIRTYPE), b"") for n in range(11)])

    assert jail.refusal(content, max_files=5).reason == Reason.TOO_LARGE


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_an_archive_that_unpacks_out_of_proportion_is_refused_before_it_fills_the_disk(jail: Jail, kind: str) -> None:
    zeros = bytes(200 << 20)
    content = zip_of([("bomb", zeros)]) if kind == "zip" else tar_of([(member("bomb"), zeros)], "w:gz")

    error = jail.refusal(content, kind)

    assert (Reason.TOO_LARGE, True) == (error.reason, "proportion" in error.message)
    assert (jail.tree / "bomb").stat().st_size <= 65 << 20


def test_the_size_cap_holds_for_what_is_unpacked(jail: Jail) -> None:
    assert "more than 1000 bytes" in jail.refusal(tar_of([(member("a"), bytes(1001))]), max_bytes=1000).message


def test_metadata_of_absurd_size_is_refused_without_being_read(jail: Jail) -> None:
    """A PAX header that says it is 64 MiB long: a name of that length would be held in memory."""
    header = member("x", tarfile.XHDTYPE)
    content = gzip.compress(tar_of([(header, bytes(64 << 20))]), 9)

    assert jail.refusal(content, "tgz").reason == Reason.UNSAFE_ARCHIVE


def test_sparse_members_are_refused(jail: Jail) -> None:
    assert jail.refusal(tar_of([(member("s", tarfile.GNUTYPE_SPARSE), b"")])).reason in {
        Reason.UNSAFE_ARCHIVE,
        Reason.CORRUPT_ARCHIVE,
    }


def test_encrypted_members_are_refused(jail: Jail) -> None:
    content = bytearray(zip_of([("a", b"x")]))
    content[6] |= 1  # the flag in the member's header, and in the directory's
    content[content.index(b"PK\x01\x02") + 8] |= 1

    assert "encrypted" in jail.refusal(bytes(content), "zip").message


def test_compression_with_unbounded_memory_is_refused(jail: Jail) -> None:
    assert "deflate" in jail.refusal(zip_of([("a", b"x" * 100)], zipfile.ZIP_LZMA), "zip").message


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_a_damaged_archive_is_refused_as_corrupt_wherever_the_damage_is(jail: Jail, kind: str) -> None:
    """Cut, and with bytes changed at random, 300 times: refused or unpacked, never another error."""
    files = [(f"f{n}", os.urandom(2000)) for n in range(4)]
    whole = (
        zip_of(files) if kind == "zip" else tar_of([(member(n), c) for n, c in files], "w:gz" if kind == "tgz" else "w")
    )
    source = random.Random(5)
    reasons = set()
    for number in range(300):
        damaged = bytearray(whole[: source.randrange(len(whole))] if number % 3 == 0 else whole)
        for _ in range(source.randrange(1, 20) if number % 3 else 0):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        try:
            jail.unpack(bytes(damaged), kind)
        except StorageError as error:
            reasons.add(error.reason)
        shutil.rmtree(jail.tree)

    assert Reason.CORRUPT_ARCHIVE in reasons
    assert reasons <= {Reason.CORRUPT_ARCHIVE, Reason.UNSAFE_ARCHIVE, Reason.TOO_LARGE}


def test_a_truncated_member_is_corrupt(jail: Jail) -> None:
    content = tar_of([(member("a"), b"x" * 5000)])

    assert jail.refusal(content[:3000]).reason == Reason.CORRUPT_ARCHIVE
