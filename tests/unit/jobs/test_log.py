"""Logs of jobs: bounded, and with places that mean the same for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.jobs.log import JobLog, read_log, read_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_from_any_place(tmp_path: Path) -> None:
    log = JobLog(tmp_path, "log", 1 << 20)
    log.append(b"hello ")
    log.append(b"world")
    log.close()

    assert (b"world", 11) == read_log(tmp_path, "log", 6)
    assert (b"", 11) == read_log(tmp_path, "log", 11)


def test_the_oldest_goes_and_places_stay(tmp_path: Path) -> None:
    log = JobLog(tmp_path, "log", 4096)
    for number in range(100):
        log.append(b"%099d\n" % number)
    log.close()

    text, place = read_log(tmp_path, "log", 0)
    assert place > 100
    while (more := read_log(tmp_path, "log", place))[0]:
        text, place = text + more[0], more[1]
    assert 100 * 100 == place
    assert text.endswith(b"99\n")
    assert 2048 < len(text) <= 5 * 1024


def test_a_log_goes_on_where_a_former_server_left_it(tmp_path: Path) -> None:
    for text in (b"one ", b"two"):
        log = JobLog(tmp_path, "log", 4096)
        log.append(text)
        log.close()

    assert (b"one two", 7) == read_log(tmp_path, "log", 0)


def test_all_of_a_log_is_read_over_its_segments(tmp_path: Path) -> None:
    log = JobLog(tmp_path, "log", 1 << 20)
    for number in range(8):
        log.append(bytes([65 + number]) * (100 * 1024))
    log.close()

    assert b"".join(bytes([65 + number]) * (100 * 1024) for number in range(8)) == read_whole(tmp_path, "log")
    assert b"H" * 5 == read_whole(tmp_path, "log", 8 * 100 * 1024 - 5)
