"""Items of a training from files."""

from __future__ import annotations

import base64
import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, ConfigDict

from pillion import Model, Stream, task, train
from pillion.authoring.training import training_of
from pillion.errors import PillionError
from pillion.jobs.data import from_files

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.authoring.training import DataParameter

RAW = b"\xff\x00 any"
TEXT = base64.b64encode(RAW).decode()


class Page(BaseModel):
    model_config = ConfigDict(strict=True)

    raw: bytes
    day: date | None = None


class Learns(Model):
    @task
    def page(self, it: Page) -> bytes:
        raise NotImplementedError

    @classmethod
    @train
    def learn(cls, pages: Stream[Page], plain: Stream[bytes], rows: Stream[dict[str, Any]]) -> Learns:
        raise NotImplementedError

    def save(self, path: Path) -> None:
        raise NotImplementedError


def parameter(name: str) -> DataParameter:
    signature = training_of(Learns, "page")
    assert signature is not None
    return next(one for one in signature.data if one.name == name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
def test_items_of_json_files_are_read_as_those_of_requests(tmp_path: Path, name: str) -> None:
    items = [{"raw": TEXT, "day": "2026-01-02"}, {"raw": TEXT}]
    text = json.dumps(items) if name == "a.json" else "\n".join(map(json.dumps, items))
    (tmp_path / name).write_text(text)
    assert list(from_files(parameter("pages"), tmp_path)) == [Page(raw=RAW, day=date(2026, 1, 2)), Page(raw=RAW)]


def test_bytes_that_are_items_are_base64_in_json_and_text_in_csv(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'"{TEXT}"\n')
    assert list(from_files(parameter("plain"), tmp_path)) == [RAW]
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "a.csv").write_text("raw\nwords\n")
    assert list(from_files(parameter("rows"), tmp_path)) == [{"raw": "words"}]


def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"raw": "{TEXT}"}}\n{{"raw": "no base64!"}}\n')
    with pytest.raises(PillionError, match=r"^data: pages, a\.jsonl:2: raw: .*base64"):
        list(from_files(parameter("pages"), tmp_path))
