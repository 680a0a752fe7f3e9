"""What a pod makes of the marks of all pods, in a folder and without a model."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from pillion.batchpod.order import BatchOrder, Input, Model, Output
from pillion.batchpod.plan import InputFile, Shard
from pillion.batchpod.predictor import Predicted
from pillion.batchpod.progress import Counts, Progress, mark_name
from pillion.batchpod.rows import Columns, Row
from pillion.batchpod.run import BatchRun
from pillion.batchpod.writing import ShardFiles
from pillion.podword import FAILED, EndedError

if TYPE_CHECKING:
    from pathlib import Path

NOTHING = Model("/nothing")
SHARD = Shard(InputFile("k", "0.jsonl", 8, "", "jsonl"))


def run_of(folder: Path, index: int = 0, *, files: int = 2, **given: object) -> BatchRun:
    (folder / "in").mkdir(exist_ok=True)
    for number in range(files):
        (folder / f"in/{number}.jsonl").write_text("[1.0]\n")
    order = BatchOrder(
        name="flowers",
        uid="6f1c",
        input=Input(f"file://{folder}/in/"),
        output=Output(f"file://{folder}/out"),
        model=NOTHING,
        work=str(folder / f"work-{index}"),
        **{"pods": 2, **given},  # type: ignore[arg-type] # fields of the order, by name
    )
    return BatchRun(order, index, {}, Progress())


def mark(folder: Path, number: int, counts: Counts, uid: str = "6f1c") -> None:
    place = folder / "out/flowers/_pillion/done" / uid
    place.mkdir(parents=True, exist_ok=True)
    (place / mark_name(number, counts)).write_text("{}\n")


@pytest.mark.asyncio
async def test_whoever_says_that_all_is_there_counts_the_failures_of_all(tmp_path: Path) -> None:
    await planned(tmp_path)
    for number in (0, 1):
        mark(tmp_path, number, Counts(10, 4, 6))

    with pytest.raises(EndedError, match="12 rows failed, and maxFailures is 10") as raised:
        await run_of(tmp_path, max_failures=10).run()

    assert (FAILED, "TooManyFailures") == (raised.value.status, raised.value.fields["reason"])
    assert not (tmp_path / "out/flowers/_SUCCESS").exists()


@pytest.mark.asyncio
async def test_as_many_failures_as_may_be_are_fine(tmp_path: Path) -> None:
    await planned(tmp_path)
    for number in (0, 1):
        mark(tmp_path, number, Counts(10, 5, 5))

    run = run_of(tmp_path, max_failures=10)
    await run.run()

    totals = {"shards": 2, "rows": {"read": 20, "written": 10, "failed": 10}}
    assert totals == run._progress.document()["all"]
    assert '"failed": 10' in (tmp_path / "out/flowers/_SUCCESS").read_text()


@pytest.mark.asyncio
async def test_a_pod_that_comes_after_too_many_failures_does_not_begin(tmp_path: Path) -> None:
    await planned(tmp_path)
    mark(tmp_path, 1, Counts(20, 9, 11))

    with pytest.raises(EndedError, match="11 rows failed"):
        await run_of(tmp_path, max_failures=10).run()


@pytest.mark.asyncio
async def test_marks_of_another_batch_prediction_count_nothing(tmp_path: Path) -> None:
    for number in (0, 1):
        mark(tmp_path, number, Counts(10, 10, 0), uid="another")

    with pytest.raises(EndedError, match="cannot be loaded"):
        await run_of(tmp_path).run()

    assert not (tmp_path / "out/flowers/_SUCCESS").exists()


def test_a_shard_that_another_pod_has_completed_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    part = tmp_path / "out/flowers/part-00000.jsonl"
    mark(tmp_path, 0, Counts(3, 3, 0))
    part.write_text("of the other\n")
    (tmp_path / "work").mkdir()
    files = ShardFiles(tmp_path / "work", 0, SHARD, "jsonl", identified=False)
    files.add(Predicted(Row(1, b"[1.0]"), [2.0]))
    files.close()

    run._stored(0, files)

    assert "of the other\n" == part.read_text()
    assert ["00000-3-3-0"] == [file.name for file in (tmp_path / "out/flowers/_pillion/done/6f1c").iterdir()]


@pytest.mark.asyncio
async def test_the_first_pod_makes_the_plan_and_the_others_wait_for_it(tmp_path: Path) -> None:
    second = asyncio.create_task(run_of(tmp_path, 1).run())

    done, _ = await asyncio.wait([second], timeout=1.5)
    assert not done
    assert not (tmp_path / "out").exists()
    await planned(tmp_path)

    with pytest.raises(EndedError, match="cannot be loaded"):  # it goes on
        await asyncio.wait_for(second, 60)


async def planned(folder: Path) -> None:
    """A pod made the plan, and was lost before its first shard was done."""
    with pytest.raises(EndedError, match="cannot be loaded"):
        await run_of(folder).run()


@pytest.mark.asyncio
async def test_rows_are_written_while_the_event_loop_goes_on(tmp_path: Path) -> None:
    run = run_of(tmp_path, files=1)
    writers: set[int] = set()

    class Watched(ShardFiles):
        def add(self, predicted: Predicted) -> None:
            writers.add(threading.get_ident())
            super().add(predicted)

        def close(self) -> None:
            writers.add(threading.get_ident())
            super().close()

    class Doubling:
        columns = Columns({})

        async def predict(self, body: bytes) -> list[object]:
            return [2.0]

    files = Watched(tmp_path, 0, SHARD, "jsonl", identified=False)
    await run._predict_rows(iter([Row(1, b"[1.0]")]), Doubling(), files)

    assert (1, 1, 0) == (files.read, files.written, files.failed)
    assert writers
    assert threading.get_ident() not in writers
