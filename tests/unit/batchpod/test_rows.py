"""Rows of files of each format: what is sent to the model, and what is wrong with a row."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from pillion.batchpod.order import Input
from pillion.batchpod.place import Place
from pillion.batchpod.plan import Plan, made_plan
from pillion.batchpod.rows import Columns, Row, rows_of_shard
from pillion.podword import FAILED, EndedError
from pillion.storage import StorageError

if TYPE_CHECKING:
    from pathlib import Path

OUTPUT = Place("file:///elsewhere/out/name", {})
MIXED = Columns({"age": "INT64", "fare": "FP64", "name": "BYTES", "alive": "BOOL"})


def planned(path: Path, **given: Any) -> tuple[Plan, Place, Input]:
    wanted = Input(f"file://{path}", **given)
    place = Place(wanted.at, {})
    return made_plan("u", wanted, place, OUTPUT), place, wanted


def read(path: Path, columns: Columns = MIXED, **given: Any) -> list[Row]:
    plan, place, wanted = planned(path, **given)
    return [row for shard in plan.shards for row in rows_of_shard(shard, wanted, place, columns)]


def sent(rows: list[Row]) -> list[Any]:
    return [json.loads(row.instance) for row in rows if not row.problem]


def problems(rows: list[Row]) -> dict[int, str]:
    return {row.number: row.problem for row in rows if row.problem}


def test_cells_become_what_the_models_columns_are(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xef\xbb\xbfage,fare,name,alive\r\n3,1.5,7,true\r\n,,,0\r\n")

    assert [
        {"age": 3, "fare": 1.5, "name": "7", "alive": True},
        {"age": None, "fare": None, "name": "", "alive": False},
    ] == sent(read(file))


def test_rows_of_csv_that_do_not_fit_are_told_by_column_and_number(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(
        b'age,fare,name,alive\nx,1,a,1\n\n1,1,"a\nb",1\n1,2\n1,y,a,1\n1,1,a,maybe\n1,1,\xff,1\n1,1,"a"b,1\n'
    )

    found = read(file)

    assert [{"age": 1, "fare": 1.0, "name": "a\nb", "alive": True}] == sent(found)
    told = problems(found)
    assert "column 'age': 'x' is no INT64" == told[1]
    assert "has 2 cells, and the header names 4 columns" == told[4]
    assert "column 'fare': 'y' is no FP64" == told[5]
    assert "column 'alive': 'maybe' is no BOOL" == told[6]
    assert told[7].startswith("is no CSV in UTF-8")
    assert told[8].startswith("is no CSV in UTF-8")
    assert {1, 4, 5, 6, 7, 8} == set(told)


def test_a_quote_that_nobody_closes_ends_it_and_names_its_row(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('\ufeff"a",b\n5" pipe,1\n2,"x\n3,y\n')
    plan, place, given = planned(file)
    found = rows_of_shard(plan.shards[0], given, place, Columns({}))

    assert {"a": '5" pipe', "b": 1} == json.loads(next(found).instance)
    with pytest.raises(EndedError, match=r"a\.csv, row 2: a quoted cell is not closed") as raised:
        next(found)

    assert (FAILED, "InputInvalid") == (raised.value.status, raised.value.fields["reason"])


def test_a_matrix_without_names_takes_the_cells_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,b,a,label\nq1,1,2,x\nq2,z,2,x\n")

    found = read(file, Columns({}, "FP32"), id_field="id", exclude=("label",))

    assert [[1.0, 2.0]] == sent(found)
    assert ["q1", "q2"] == [row.identity for row in found] or found[1].problem
    assert {2: "column 'b': 'z' is no FP32"} == problems(found)


def test_where_the_model_does_not_say_numbers_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('a,b,c,d,e\n1,1.5,true,x,"[1]"\n')

    assert [{"a": 1, "b": 1.5, "c": True, "d": "x", "e": "[1]"}] == sent(read(file, Columns({})))


def test_lines_of_json_are_sent_as_they_are_and_blank_ones_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"id": 7, "a": 1, "junk": 0}\r\n\n   \n{"a": 2}\nnot json\n[1, 2]\n{"id": 8, "a": NaN}\n')

    found = read(file, id_field="id", exclude=("junk",))

    assert [{"a": 1}] == sent(found)
    assert 7 == found[0].identity
    told = problems(found)
    assert "has no 'id', the input.idField" == told[4]
    assert told[5].startswith("is no JSON")
    assert "is no object, so it has no 'id', the input.idField" == told[6]
    assert told[7].startswith("is no JSON")
    assert [[1, 2]] == [row for row in sent(read(file)) if isinstance(row, list)]


def test_rows_of_parquet_by_row_group(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    day = dt.date(2026, 11, 26)
    table = pa.table({"n": [1, 2, 3, 4, 5], "f": [0.5, None, float("nan"), 1.0, 2.0], "d": [day] * 5})
    parquet.write_table(table, file, row_group_size=2)

    plan, place, given = planned(file, split_bytes=1)
    found = [row for shard in plan.shards for row in rows_of_shard(shard, given, place, Columns({}))]

    assert [1, 3, 5] == [shard.first_row for shard in plan.shards]
    assert [1, 2, 3, 4, 5] == [row.number for row in found]
    assert {"n": 3, "f": None, "d": "2026-11-26"} == json.loads(found[2].instance)


def test_what_is_no_parquet_ends_it_and_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1 or not")

    with pytest.raises(EndedError) as raised:
        planned(file)

    assert (FAILED, "InputInvalid") == (raised.value.status, raised.value.fields["reason"])
    assert "a.parquet is no Parquet" in raised.value.fields["message"]


def test_pages_of_parquet_that_are_broken_are_of_the_input(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"s": [f"{number}-" * 50 for number in range(3000)]}), file)
    content = bytearray(file.read_bytes())
    content[100:200] = bytes(100)  # pyarrow says that by a plain OSError
    file.write_bytes(content)

    with pytest.raises(EndedError) as raised:
        read(file)

    assert "InputInvalid" == raised.value.fields["reason"]
    assert "a.parquet is no Parquet that can be read" in raised.value.fields["message"]


def test_a_parquet_file_that_somebody_changed_is_the_stores_error(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"n": [1, 2]}), file)
    plan, place, given = planned(file)
    parquet.write_table(pa.table({"n": [1, 2, 3]}), file)

    with pytest.raises(StorageError, match="was changed"):
        list(rows_of_shard(plan.shards[0], given, place, Columns({})))


def test_what_is_nested_too_deeply_is_of_its_row(tmp_path: Path) -> None:
    deep = "[" * 100_000
    (tmp_path / "a.csv").write_text(f"a\n{deep}\n1\n")
    (tmp_path / "a.jsonl").write_text(f"{deep}\n1\n")

    assert [{"a": deep}, {"a": 1}] == sent(read(tmp_path / "a.csv", Columns({})))
    assert {1} == set(problems(read(tmp_path / "a.jsonl")))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b,a\n1,2,3\n", "column 'a' is there twice"),
        (b"\n1,2\n", "it is empty"),
        (b"a,\xff\n1,2\n", "no CSV in UTF-8"),
        (b'a,"b\n1,2\n', "a quoted cell is not closed"),
    ],
)
def test_a_header_that_names_no_columns_ends_it(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)

    with pytest.raises(EndedError) as raised:
        planned(tmp_path / "a.csv")

    assert says in raised.value.fields["message"]
    assert "a.csv" in raised.value.fields["message"]


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.csv", "header.csv"])
def test_no_rows_are_fine(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a,b\n" if name == "header.csv" else "")

    assert [] == read(tmp_path / name)


def files(tmp_path: Path, uri: str, **given: Any) -> list[str]:
    wanted = Input(f"file://{tmp_path}{uri}", **given)
    return [shard.file.name for shard in made_plan("u", wanted, Place(wanted.at, {}), OUTPUT).shards]


def test_folders_and_patterns_name_files(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl", "x/c.csv", "x/y/d.csv", "_SUCCESS", "_old/e.csv", ".f.csv", "readme.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("n\n1\n")

    assert ["a.jsonl", "b.csv", "x/c.csv", "x/y/d.csv"] == files(tmp_path, "/")
    assert ["a.jsonl", "b.csv", "x/c.csv", "x/y/d.csv"] == files(tmp_path, "")
    assert ["b.csv"] == files(tmp_path, "/*.csv")
    assert ["c.csv"] == files(tmp_path, "/x/*.csv")
    assert ["b.csv", "x/c.csv", "x/y/d.csv"] == files(tmp_path, "/**/*.csv")
    assert ["b.csv", "x/c.csv", "x/y/d.csv"] == files(tmp_path, "/**.csv")
    assert ["c.csv", "y/d.csv"] == files(tmp_path, "/x/**")
    assert ["x/c.csv"] == files(tmp_path, "/*/*.csv")
    assert ["readme.md"] == files(tmp_path, "/readme.md", format="jsonl")
    for nothing in ("/none.csv", "/*.parquet", "/none/"):
        with pytest.raises(EndedError, match="names no file"):
            files(tmp_path, nothing)
    with pytest.raises(EndedError, match=r"ends in none"):
        files(tmp_path, "/readme.md")


def test_places_of_this_machine_are_urls(tmp_path: Path) -> None:
    folder = tmp_path / "my rows 100%"
    folder.mkdir()
    (folder / "a%20b.csv").write_text("n\n1\n")
    place = Place(folder.as_uri(), {})

    assert ["a%20b.csv"] == [found.key.rpartition("/")[2] for found in place.list(place.key)]
    place.write(place.below("c d.txt"), b"x")
    assert "x" == (folder / "c d.txt").read_text()
    blanks = Input(f"file://{tmp_path}/my%20rows%20100%25/*.csv")
    assert [str(folder / "a%20b.csv")] == [
        f"/{shard.file.key}" for shard in made_plan("u", blanks, Place(blanks.at, {}), OUTPUT).shards
    ]


def test_predictions_are_no_rows(tmp_path: Path) -> None:
    for name in ("a.csv", "out/one/part-00000.csv", "outer/b.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("n\n1\n")
    wanted, output = Input(f"file://{tmp_path}/"), Place(f"file://{tmp_path}/out/two", {})

    found = made_plan("u", wanted, Place(wanted.at, {}), output)

    assert ["a.csv", "outer/b.csv"] == [shard.file.name for shard in found.shards]


def test_predictions_beside_the_rows_are_told_apart_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n1\n")
    wanted = Input(f"file://{tmp_path}/")

    with pytest.raises(EndedError, match=r"all 1 files .* lie below .*, where output.uri puts predictions"):
        made_plan("u", wanted, Place(wanted.at, {}), Place(f"file://{tmp_path}/one", {}))


def test_a_header_is_in_the_plan_once_however_many_shards_its_file_has(tmp_path: Path) -> None:
    columns = [f"column-{number}" for number in range(200)]
    row = ",".join("1" for _ in columns)
    (tmp_path / "a.csv").write_text("\n".join([",".join(columns), *[row] * 100]) + "\n")

    plan, _, _ = planned(tmp_path / "a.csv", split_bytes=len(row))

    assert len(plan.shards) >= 50
    assert {tuple(columns)} == {tuple(shard.file.header) for shard in plan.shards}
    assert 1 == msgspec.json.encode(plan).count(b'"column-7"')


def test_of_a_listing_is_kept_what_the_input_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.csv", *(f"other-{number}.txt" for number in range(50)), "b.csv"):
        (tmp_path / name).write_text("n\n1\n")
    monkeypatch.setattr("pillion.batchpod.plan._MOST_SHARDS", 2)

    assert ["a.csv", "b.csv"] == files(tmp_path, "/*.csv")
    assert ["a.csv", "b.csv"] == files(tmp_path, "/")
    with pytest.raises(EndedError, match="names more than 2 files"):
        files(tmp_path, "/*")


def test_a_file_that_somebody_changed_is_an_error_and_not_half_of_two_files(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": 1}\n' * 10)
    plan, place, given = planned(file)
    file.write_text('{"a": 2}\n' * 12)

    with pytest.raises(StorageError, match="was changed"):
        list(rows_of_shard(plan.shards[0], given, place, Columns({})))
