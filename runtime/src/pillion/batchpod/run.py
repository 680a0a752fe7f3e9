"""The pod's work: its shards, one after the other, each from its rows to its mark.

Pods share the shards by number: of three pods the second has 1, 4, 7... What a pod that was lost has completed has its
mark in the output, and its successor passes it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import logging
import shutil
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.batchpod.place import Place
from pillion.batchpod.plan import Plan, made_plan
from pillion.batchpod.predictor import predict_rows
from pillion.batchpod.progress import Counts, mark_name, marked
from pillion.batchpod.rows import rows_of_shard
from pillion.batchpod.writing import ShardFiles
from pillion.podword import FAILED, LOST, STOPPED, EndedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pillion.batchpod.order import BatchOrder
    from pillion.batchpod.plan import Shard
    from pillion.batchpod.predictor import Predicted, Predictor
    from pillion.batchpod.progress import Progress
    from pillion.batchpod.rows import Row

__all__ = ["BatchRun"]

_log: Final = logging.getLogger(__name__)
_BATCH_BYTES: Final = 4 << 20
"""A batch with more is sent without waiting for further rows."""
_PLAN: Final = msgspec.json.Decoder(Plan)
_OWN: Final = "_pillion"
_LAST: Final = 300
_PLAN_PAUSE: Final = 1.0


class BatchRun:
    """One run. Event loop's thread only.

    Args:
        order: what to do.
        index: which of the pods this is.
        environment: of the storage.
        progress: is kept up to date.
    """

    def __init__(self, order: BatchOrder, index: int, environment: Mapping[str, str], progress: Progress) -> None:
        self._order = order
        self._index = index
        self._progress = progress
        self._input = Place(order.input.at, environment)
        self._output = Place(f"{order.output.at.rstrip('/')}/{order.name}", environment)
        self._work = Path(order.work) / "shards"
        self._last_problem = ""
        csv.field_size_limit(order.input.max_row_bytes)

    async def run(self) -> None:
        """Do all of this pod's share.

        Raises:
            EndedError: it could not be done here.
            StorageError: the store refuses, or does not answer.
        """
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        plan = await self._planned()
        own = range(self._index, len(plan.parts), self._order.pods)
        done = await asyncio.to_thread(self._marks)
        self._progress.planned(len(plan.parts), own, done)
        self._check_failures()
        _log.info("%d shards, %d of them for this pod, %d of all done", len(plan.parts), len(own), len(done))
        left = [number for number in own if number not in done]
        if left:
            await self._predict(plan.shards, left)
        await asyncio.to_thread(self._complete, plan)

    async def _planned(self) -> Plan:
        """The plan that is there. The first pod makes it: each that did would read all files that are to be cut."""
        key = self._output.below(_OWN, "plan.json")
        content = await asyncio.to_thread(self._output.read, key)
        if content is None and self._index > 0:
            _log.info("waiting for the plan, which the pod of index 0 makes")
        while content is None:
            if self._index == 0:
                content = await asyncio.to_thread(self._made, key)
            else:
                await asyncio.sleep(_PLAN_PAUSE)
                content = await asyncio.to_thread(self._output.read, key)
        return self._checked(content)

    def _made(self, key: str) -> bytes | None:
        made = made_plan(self._order.uid, self._order.input, self._input, self._output)
        # A pod that was thought lost may have been faster: what is there counts.
        self._output.write_once(key, msgspec.json.encode(made))
        return self._output.read(key)

    def _checked(self, content: bytes) -> Plan:
        try:
            plan = _PLAN.decode(content)
        except msgspec.MsgspecError as error:
            text = f"{self._output.shown}/{_OWN}/plan.json is no plan of this version: {error}"
            raise EndedError(FAILED, "OutputInvalid", text, "choose another output.uri") from None
        if plan.uid != self._order.uid:
            text = f"{self._output.shown} holds the output of another BatchPrediction of this name"
            remedy = "remove it, or create a BatchPrediction of another name"
            raise EndedError(FAILED, "OutputTaken", text, remedy)
        return plan

    def _marks(self) -> dict[int, Counts]:
        return marked(file.key for file in self._output.list(self._mark("")))

    def _mark(self, name: str) -> str:
        # By the uid: what another BatchPrediction of this name left is none of this one's work.
        return self._output.below(_OWN, "done", self._order.uid, name)

    async def _predict(self, shards: Sequence[Shard], numbers: Sequence[int]) -> None:
        if self._order.service is not None:
            from pillion.batchpod.remote_model import RemoteModel  # noqa: PLC0415 - one of the two

            async with RemoteModel(self._order.service, self._order.concurrency) as remote:
                for number in numbers:
                    await self._predict_shard(number, shards[number], remote)
            return
        from pillion.batchpod.local_model import loaded  # noqa: PLC0415 - numpy and the data plane

        assert self._order.model is not None  # noqa: S101 - checked where the order is read
        model = await loaded(self._order.model, self._order.concurrency)
        for number in numbers:
            await self._predict_shard(number, shards[number], model)

    async def _predict_shard(self, number: int, shard: Shard, predictor: Predictor) -> None:
        form = self._order.output.format or shard.file.format
        identified = bool(self._order.input.id_field)
        files = ShardFiles(self._work, number, shard, form, identified=identified)
        rows = rows_of_shard(shard, self._order.input, self._input, predictor.columns)
        try:
            await self._predict_rows(rows, predictor, files)
        except EndedError as error:
            if error.fields["reason"] == "TooManyFailures":
                await asyncio.to_thread(self._upload_errors, files)
            raise
        await asyncio.to_thread(self._stored, number, files)
        _log.info("shard %d (%s): %d rows written, %d failed", number, shard.file.name, files.written, files.failed)

    async def _predict_rows(self, rows: Iterator[Row], predictor: Predictor, files: ShardFiles) -> None:
        """Keep so many batches on their way as the order says; write them in the order of their rows."""
        under_way: deque[asyncio.Task[list[Predicted]]] = deque()
        batches = _batches(rows, self._order.batch_size)
        try:
            while True:
                batch = await asyncio.to_thread(next, batches, None)
                if batch is not None:
                    under_way.append(asyncio.create_task(predict_rows(predictor, batch)))
                while under_way and (batch is None or len(under_way) >= self._order.concurrency):
                    predicted = await under_way.popleft()
                    # In a thread: a row may end a group of Parquet, which is compressed and written there and then.
                    await asyncio.to_thread(_written_down, files, predicted)
                    await self._added(files, predicted)
                if batch is None:
                    break
            await asyncio.to_thread(_closed, files)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _added(self, files: ShardFiles, predicted: Sequence[Predicted]) -> None:
        for one in predicted:
            if one.problem:
                self._last_problem = f"row {one.row.number}: {one.problem}"[:_LAST]
        self._progress.counts(Counts(files.read, files.written, files.failed))
        try:
            self._check_failures()
        except EndedError:
            await asyncio.to_thread(_closed, files)
            raise

    def _check_failures(self) -> None:
        """End the run where more rows of all pods have failed than may."""
        most, failed = self._order.max_failures, self._progress.failed
        if most is None or failed <= most:
            return
        said = f"; the last: {self._last_problem}" if self._last_problem else ""
        text = f"{failed} rows failed, and maxFailures is {most}{said}"
        remedy = f"see the reasons in {self._output.shown}/_errors, and correct the rows or the model"
        raise EndedError(FAILED, "TooManyFailures", text, remedy)

    def _upload_errors(self, files: ShardFiles) -> None:
        key = self._output.below("_errors", files.errors_name)
        if files.failed:
            self._output.write(key, files.errors_path)
        else:
            self._output.remove(key)  # of a pod before this one

    def _stored(self, number: int, files: ShardFiles) -> None:
        """Put the shard's files into their places, and its mark; where a pod that was thought lost did, leave them."""
        done = self._marks()
        counts = done.get(number)
        if counts is None:
            counts = self._written(number, files)
        else:
            _log.warning("shard %d was completed by another pod meanwhile: what is there stays", number)
        files.remove()
        self._progress.seen(done)
        self._progress.finished(number, counts)
        self._check_failures()

    def _written(self, number: int, files: ShardFiles) -> Counts:
        key = self._output.below(files.name)
        if files.written:
            self._output.write(key, files.path)
        else:
            self._output.remove(key)
        self._upload_errors(files)
        counts = Counts(files.read, files.written, files.failed)
        self._output.write(self._mark(mark_name(number, counts)), b"{}\n")
        return counts

    def _complete(self, plan: Plan) -> None:
        """Say that all is there, where it is: whoever is last."""
        done = self._marks()
        self._progress.seen(done)
        if len(done) < len(plan.parts):
            return
        # Pods that worked at the same time may each have known too little to stop.
        self._check_failures()
        totals = {field: sum(getattr(counts, field) for counts in done.values()) for field in Counts.__slots__}
        content = json.dumps({"shards": len(done), "rows": totals}, indent=2) + "\n"
        self._output.write(self._output.below("_SUCCESS"), content.encode())
        self._progress.completed(len(done), totals)


@contextlib.contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EndedError(LOST, "DiskFull", f"the pod's disk cannot be written: {error.strerror or error}") from None


def _written_down(files: ShardFiles, predicted: Sequence[Predicted]) -> None:
    """Blocking."""
    with _on_disk():
        for one in predicted:
            files.add(one)


def _closed(files: ShardFiles) -> None:
    """Blocking."""
    with _on_disk():
        files.close()


def _batches(rows: Iterator[Row], most: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.instance)
        if len(batch) >= most or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def stopped() -> EndedError:
    """The end of a pod that was told to end."""
    return EndedError(STOPPED, "Terminated", "the pod was told to end; its successor goes on with the shard it was at")


def document_of(progress: Progress) -> dict[str, Any]:
    """What `/status` says."""
    return {"batch": progress.document()}
