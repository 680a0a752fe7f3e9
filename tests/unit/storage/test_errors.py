"""Reasons and exit codes are an interface."""

from __future__ import annotations

from pillion.storage import EXIT_CODES, Reason, StorageError


def test_every_reason_has_an_exit_code_of_its_own() -> None:
    assert set(Reason) == set(EXIT_CODES)
    assert len(EXIT_CODES) == len(set(EXIT_CODES.values()))


def test_exit_codes_stand_in_the_documented_ranges() -> None:
    assert all(10 <= code < 60 for code in EXIT_CODES.values())


def test_an_error_reads_as_a_sentence_with_its_remedy() -> None:
    error = StorageError(Reason.DISK_FULL, "the disk is full at /mnt", remedy="give the volume more space")

    assert "DiskFull: the disk is full at /mnt. give the volume more space." == str(error)
    assert 50 == error.exit_code
