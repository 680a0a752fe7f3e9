"""The pods' program: predicts rows of a bucket, is killed, goes on elsewhere, and leaves every row once."""

from __future__ import annotations

import csv
import io
import json
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.datasets import load_iris

from tests import penguins

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.batchpod.conftest import Bucket, Pods
    from tests.models import IrisModels

FEATURES = load_iris().data
HEADER = "a,b,c,d"


def flowers(rows: Any = FEATURES) -> str:
    return "\n".join([HEADER, *(",".join(map(str, row)) for row in rows)]) + "\n"


@pytest.fixture
def slow(tmp_path: Path) -> dict[str, Any]:
    """A class that takes a moment for each call, and doubles; with ``stands`` beside it none from 1000 on."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "service.py").write_text(
        "import time\nfrom pathlib import Path\n\n"
        "import numpy as np\nfrom numpy.typing import NDArray\nimport pillion\n\n\n"
        "class Slow(pillion.Model):\n"
        "    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:\n"
        "        time.sleep(0.005)\n"
        f"        while x.max() >= 1000 and Path({str(tmp_path / 'stands')!r}).exists():\n"
        "            time.sleep(0.01)\n"
        "        return 2 * x\n"
    )
    return {"path": str(folder), "format": "python", "trust_code": True}


def test_rows_of_csv_become_predictions_of_the_model_itself(pods: Pods, bucket: Bucket, iris: IrisModels) -> None:
    bucket.put("in/a.csv", flowers(FEATURES[:100]))
    bucket.put("in/b.csv", flowers(FEATURES[100:]) + "1,2,3\n1,2,3,x\n")

    pod = pods.start(
        input={"at": f"{bucket.uri}/in/", "split_bytes": 1000},
        output={"at": f"{bucket.uri}/out"},
        model={"path": str(iris.skops)},
    )

    assert 0 == pod.wait(), pod.log
    rows: list[dict[str, str]] = []
    parts = [name for name in bucket.names("out/flowers/") if "part-" in name and "_errors" not in name]
    for name in parts:
        rows += csv.DictReader(io.StringIO(bucket.read(name).decode()))
    assert len(parts) > 2
    expected = [str(label) for label in iris.estimator.predict(FEATURES)]
    assert expected == [row["prediction"] for row in rows]
    places = [("a.csv", n) for n in range(1, 101)] + [("b.csv", n) for n in range(1, 51)]
    assert places == [(row["file"], int(row["row"])) for row in rows]
    errors = bucket.lines("out/flowers/_errors")
    assert [(51, "has 3 cells, and the header names 4 columns"), (52, "column 'd': 'x' is no FP64")] == [
        (error["row"], error["reason"]) for error in errors
    ]
    counted = {"read": 152, "written": 150, "failed": 2}
    assert counted == json.loads(bucket.read("out/flowers/_SUCCESS"))["rows"] == pod.word["batch"]["rows"]


def test_named_columns_with_texts_and_gaps_are_predicted_as_the_server_does(
    pods: Pods, bucket: Bucket, tmp_path: Path
) -> None:
    estimator, table = penguins.fit(), penguins.table()
    path = penguins.save(estimator, tmp_path)
    bucket.put("penguins.csv", table.assign(name=[f"p{n}" for n in range(len(table))]).to_csv(index=False))
    frame = pa.Table.from_pandas(table, preserve_index=False)
    parquet.write_table(frame, tmp_path / "penguins.parquet", row_group_size=100)
    bucket.put("penguins.parquet", (tmp_path / "penguins.parquet").read_bytes())
    expected = list(estimator.predict(table))

    text = pods.start(
        name="text",
        input={"at": f"{bucket.uri}/penguins.csv", "id_field": "name"},
        output={"at": f"{bucket.uri}/out", "format": "jsonl"},
        model={"path": str(path)},
    )
    binary = pods.start(
        name="binary",
        input={"at": f"{bucket.uri}/penguins.parquet", "split_bytes": 1},
        output={"at": f"{bucket.uri}/out"},
        model={"path": str(path)},
    )

    assert (0, 0) == (text.wait(), binary.wait()), text.log + binary.log
    lines = bucket.lines("out/text")
    assert [(f"p{n}", label) for n, label in enumerate(expected)] == [
        (line["id"], line["prediction"]) for line in lines
    ]
    parts = [name for name in bucket.names("out/binary/") if name.endswith(".parquet")]
    tables = [parquet.read_table(io.BytesIO(bucket.read(name))) for name in parts]
    assert 4 == len(parts)
    assert expected == pa.concat_tables(tables)["prediction"].to_pylist()


def test_a_wrong_column_is_named_for_each_row(pods: Pods, bucket: Bucket, tmp_path: Path) -> None:
    path = penguins.save(penguins.fit(), tmp_path)
    rows = penguins.table().head(3).to_dict("records")
    rows[1]["iland"] = rows[1].pop("island")
    bucket.put("in.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    pod = pods.start(
        input={"at": f"{bucket.uri}/in.jsonl"}, output={"at": f"{bucket.uri}/out"}, model={"path": str(path)}
    )

    assert 0 == pod.wait(), pod.log
    assert [1, 3] == [line["row"] for line in bucket.lines("out/flowers")]
    (error,) = bucket.lines("out/flowers/_errors")
    assert 2 == error["row"]
    assert "no input 'iland'" in error["reason"]
    assert "island" in error["reason"]
    assert "instances" not in error["reason"]


def test_a_killed_pods_successor_repeats_its_shard_and_every_row_is_there_once(
    pods: Pods, bucket: Bucket, slow: dict[str, Any], tmp_path: Path
) -> None:
    values = [[float(n)] for n in range(2000)]
    bucket.put("in.jsonl", "".join(f"{value}\n" for value in values))
    order: dict[str, Any] = {
        "input": {"at": f"{bucket.uri}/in.jsonl", "split_bytes": 2500},
        "output": {"at": f"{bucket.uri}/out"},
        "model": slow,
        "batch_size": 5,
        "concurrency": 1,
    }
    (tmp_path / "stands").touch()
    first = pods.start(**order)
    told = first.wait_for(done=3, read=990)  # in the middle of the fourth, where it stands
    first.signal(signal.SIGKILL)
    first.wait()
    (tmp_path / "stands").unlink()
    marks = bucket.names("out/flowers/_pillion/done")
    second = pods.start(**order)

    assert 0 == second.wait(), second.log
    assert 2 <= len(marks) < told["shards"]["total"]
    assert f"{len(marks)} of all done" in second.log
    lines = bucket.lines("out/flowers")
    assert list(range(1, 2001)) == [line["row"] for line in lines]
    assert [[2 * value[0]] for value in values] == [line["prediction"] for line in lines]
    assert {"read": 2000, "written": 2000, "failed": 0} == second.word["batch"]["rows"]


def test_what_a_pod_left_half_done_is_replaced(pods: Pods, bucket: Bucket, slow: dict[str, Any]) -> None:
    bucket.put("in.jsonl", "[1.0]\n[2.0]\n")
    # As after a kill between the files and the mark.
    bucket.put("out/flowers/part-00000.jsonl", '{"row": 1}\n' * 7)
    bucket.put("out/flowers/_errors/part-00000.jsonl", '{"row": 2}\n')

    pod = pods.start(input={"at": f"{bucket.uri}/in.jsonl"}, output={"at": f"{bucket.uri}/out"}, model=slow)

    assert 0 == pod.wait(), pod.log
    assert [[2.0], [4.0]] == [line["prediction"] for line in bucket.lines("out/flowers")]
    assert [] == bucket.names("out/flowers/_errors")


def test_pods_share_the_shards_and_the_last_says_that_all_is_there(
    pods: Pods, bucket: Bucket, slow: dict[str, Any]
) -> None:
    for number in range(5):
        bucket.put(f"in/{number}.jsonl", f"[{number}.0]\n" * 10)
    order: dict[str, Any] = {"input": {"at": f"{bucket.uri}/in/"}, "output": {"at": f"{bucket.uri}/out"}, "model": slow}

    both = [pods.start(index=index, pods=2, **order) for index in (0, 1)]

    assert [0, 0] == [pod.wait() for pod in both], both[0].log + both[1].log
    assert [3, 2] == [pod.word["batch"]["shards"]["done"] for pod in both]
    assert sorted([[2.0 * n]] * 10 for n in range(5)) == sorted(
        [[line["prediction"] for line in bucket.lines("out/flowers")][n * 10 : n * 10 + 10] for n in range(5)]
    )
    assert {"read": 50, "written": 50, "failed": 0} == json.loads(bucket.read("out/flowers/_SUCCESS"))["rows"]


def test_a_pod_that_is_told_to_end_ends_and_says_so(pods: Pods, bucket: Bucket, slow: dict[str, Any]) -> None:
    bucket.put("in.jsonl", "[1.0]\n" * 3000)
    order: dict[str, Any] = {"input": {"at": f"{bucket.uri}/in.jsonl"}, "output": {"at": f"{bucket.uri}/out"}}
    pod = pods.start(batch_size=1, model=slow, **order)
    pod.wait_for(done=0, read=5)

    pod.signal(signal.SIGTERM)

    assert 143 == pod.wait(), pod.log
    assert "Terminated" == pod.word["reason"]
    assert ["out/flowers/_pillion/plan.json"] == bucket.names("out/flowers")


def test_too_many_failures_end_it_and_their_reasons_are_in_the_output(
    pods: Pods, bucket: Bucket, iris: IrisModels
) -> None:
    bucket.put("in.csv", flowers() + "x,1,1,1\n" * 11)

    pod = pods.start(
        input={"at": f"{bucket.uri}/in.csv"},
        output={"at": f"{bucket.uri}/out"},
        model={"path": str(iris.skops)},
        max_failures=10,
    )

    assert 65 == pod.wait(), pod.log
    assert "TooManyFailures" == pod.word["reason"]
    assert "11 rows failed, and maxFailures is 10" in pod.word["message"]
    assert "column 'a': 'x' is no FP64" in pod.word["message"]
    assert 11 == len(bucket.lines("out/flowers/_errors"))


def test_more_batches_at_a_time_than_a_server_lets_wait(pods: Pods, bucket: Bucket, slow: dict[str, Any]) -> None:
    bucket.put("in.jsonl", "".join(f"[{n}.0]\n" for n in range(1500)))
    order: dict[str, Any] = {"input": {"at": f"{bucket.uri}/in.jsonl"}, "output": {"at": f"{bucket.uri}/out"}}

    pod = pods.start(batch_size=1, concurrency=1200, model=slow, **order)

    assert 0 == pod.wait(), pod.log
    assert [[2.0 * n] for n in range(1500)] == [line["prediction"] for line in bucket.lines("out/flowers")]


def test_no_rows_are_fine(pods: Pods, bucket: Bucket, iris: IrisModels) -> None:
    bucket.put("in/a.csv", HEADER + "\n")
    bucket.put("in/b.csv", "")

    pod = pods.start(
        input={"at": f"{bucket.uri}/in/"}, output={"at": f"{bucket.uri}/out"}, model={"path": str(iris.skops)}
    )

    assert 0 == pod.wait(), pod.log
    assert {"read": 0, "written": 0, "failed": 0} == json.loads(bucket.read("out/flowers/_SUCCESS"))["rows"]


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"input": {"at": "s3://models/nothing/here.csv"}}, "InputInvalid", "names no file"),
        ({"input": {"at": "s3://nobucket/a.csv"}}, "BucketNotFound", "does not exist"),
        ({"model": {"path": "/nothing"}}, "ModelLoadFailed", "cannot be loaded"),
        ({"uid": "other"}, "OutputTaken", "create a BatchPrediction of another name"),
    ],
)
def test_what_would_fail_again_ends_it_at_once_and_is_said(
    pods: Pods, bucket: Bucket, iris: IrisModels, change: dict[str, Any], reason: str, says: str
) -> None:
    bucket.put("in.csv", flowers())
    order: dict[str, Any] = {
        "input": {"at": f"{bucket.uri}/in.csv"},
        "output": {"at": f"{bucket.uri}/out"},
        "model": {"path": str(iris.skops)},
    }
    if "uid" in change:
        assert 0 == pods.start(**order).wait()

    pod = pods.start(**{**order, **change})

    assert 65 == pod.wait(), pod.log
    assert reason == pod.word["reason"], pod.word
    assert says in pod.word["message"] + pod.word["remedy"]


def test_outputs_of_several_names_are_columns_of_their_own(pods: Pods, bucket: Bucket, iris: IrisModels) -> None:
    bucket.put("in.csv", flowers(FEATURES[::50]))

    pod = pods.start(
        input={"at": f"{bucket.uri}/in.csv"}, output={"at": f"{bucket.uri}/out"}, model={"path": str(iris.onnx)}
    )

    assert 0 == pod.wait(), pod.log
    rows = list(csv.DictReader(io.StringIO(bucket.read("out/flowers/part-00000.csv").decode())))
    assert ["file", "row", "label", "probabilities"] == list(rows[0])
    assert ["0", "1", "2"] == [row["label"] for row in rows]
    expected = iris.estimator.predict_proba(FEATURES[::50])
    assert np.allclose(expected, [json.loads(row["probabilities"]) for row in rows], atol=1e-5)
