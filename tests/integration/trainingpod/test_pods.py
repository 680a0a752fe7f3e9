"""The pod's program: trains, is killed, goes on elsewhere, and leaves the model and a word for the operator."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from obstore.store import S3Store

from pillion.storage import FetchOptions, fetch_sync

if TYPE_CHECKING:
    from tests.integration.storage.conftest import S3Server
    from tests.integration.trainingpod.conftest import Pods

MODULE = f"{Path(__file__).with_name('steps.py')}:Steps"
OUTPUT = {"uri": "s3://models/out", "at": "s3://models/out"}


@pytest.fixture
def data(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "numbers.jsonl").write_text("1\n2\n3\n")
    return {"dataset": str(folder), "dataset_uri": "s3://models/numbers"}


@pytest.fixture
def bucket(s3: S3Server) -> S3Store:
    values = s3.environment
    return S3Store(
        "models",
        endpoint=s3.endpoint,
        access_key_id=values["AWS_ACCESS_KEY_ID"],
        secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )


def keys(bucket: S3Store, prefix: str) -> list[str]:
    return sorted(meta["path"] for page in obstore.list(bucket, prefix) for meta in page)


def checkpoint(uid: str) -> dict[str, Any]:
    place = f"s3://models/checkpoints-{uid}"
    return {"uid": uid, "checkpoint": {"uri": place, "at": place}}


def test_the_model_is_stored_under_its_digest_with_what_it_was_made_of(
    pods: Pods, data: dict[str, str], tmp_path: Path, s3: S3Server
) -> None:
    pod = pods.start(module=MODULE, parameters={"epochs": 2}, output=OUTPUT, **data)

    assert 0 == pod.wait(), pod.log
    made = pod.word["artifact"]
    assert "Completed" == pod.word["reason"]
    assert {"total": 12.0} == pod.word["metrics"]
    assert made["uri"] == f"s3://models/out/words/{made['digest'][7:19]}"
    options = FetchOptions(allow_private_hosts=True, digest=made["digest"])
    fetched = fetch_sync(made["uri"], tmp_path / "fetched", options)
    assert "12" == (fetched.model_path / "total").read_text()
    record = fetch_sync(f"{made['uri']}.json", tmp_path / "record", FetchOptions(allow_private_hosts=True))
    told = json.loads(record.model_path.read_text())
    assert {"epochs": 2} == told["parameters"]
    assert "s3://models/numbers" == told["dataset"]
    assert {"namespace": "shop", "name": "words", "uid": "6f1c"} == told["training_job"]
    assert (made["dataDigest"], made["codeDigest"]) == (told["data_digest"], told["code_digest"])


def test_a_pod_that_is_killed_leaves_a_checkpoint_that_another_goes_on_from(
    pods: Pods, data: dict[str, str], bucket: S3Store
) -> None:
    order = {"module": MODULE, "output": OUTPUT, **data, **checkpoint("killed")}
    first = pods.start(parameters={"epochs": 5, "pause": 60}, **order)
    first.wait_for(checkpoint=1, progress=0.2)
    first.signal(signal.SIGKILL)
    first.wait()

    second = pods.start(parameters={"epochs": 5}, **order)

    assert 0 == second.wait(), second.log
    assert "began at epoch 1" in second.log
    assert {"total": 30.0} == second.word["metrics"]
    assert [] == keys(bucket, "checkpoints-killed")


def test_a_pod_that_is_told_to_end_uploads_its_newest_checkpoint_before(
    pods: Pods, data: dict[str, str], bucket: S3Store
) -> None:
    # With an hour between two uploads the second checkpoint is on the pod's disk alone.
    order = {"module": MODULE, "output": OUTPUT, "every_seconds": 3600.0, **data, **checkpoint("told")}
    first = pods.start(parameters={"epochs": 3, "stand": 1}, **order)
    first.wait_for(progress=0.6)
    assert not [key for key in keys(bucket, "checkpoints-told") if "/2/" in key]
    first.signal(signal.SIGTERM)

    assert 143 == first.wait(), first.log
    assert "Terminated" == first.word["reason"]
    assert [key for key in keys(bucket, "checkpoints-told") if key.endswith("/2/checkpoint.json")]
    second = pods.start(parameters={"epochs": 3}, **order)
    assert 0 == second.wait(), second.log
    assert "began at epoch 2" in second.log


def test_a_model_that_is_made_although_the_pod_is_told_to_end_is_stored(pods: Pods, data: dict[str, str]) -> None:
    # While it rests it does not look whether it is to stop, as a training without `run` never does.
    pod = pods.start(module=MODULE, parameters={"epochs": 2, "rest": 2}, output=OUTPUT, **data)
    pod.wait_for(progress=1.0)
    pod.signal(signal.SIGTERM)

    assert 0 == pod.wait(), pod.log
    assert {"total": 12.0} == pod.word["metrics"]
    assert "Completed" == pod.word["reason"]


def test_a_checkpoint_that_is_not_whole_is_passed_over_for_the_one_before(
    pods: Pods, data: dict[str, str], bucket: S3Store
) -> None:
    order = {"module": MODULE, "output": OUTPUT, **data, **checkpoint("spoiled")}
    first = pods.start(parameters={"epochs": 3, "stand": 1}, **order)
    first.wait_for(checkpoint=2)
    first.signal(signal.SIGKILL)
    first.wait()
    newest = max(key for key in keys(bucket, "checkpoints-spoiled") if key.endswith("/total"))
    obstore.put(bucket, newest, b"7")

    second = pods.start(parameters={"epochs": 3}, **order)

    assert 0 == second.wait(), second.log
    assert f"began at epoch {int(newest.split('/')[2]) - 1}" in second.log
    assert {"total": 18.0} == second.word["metrics"]


@pytest.mark.parametrize(
    ("end", "status", "reason", "says"),
    [
        ("raise", 65, "TrainingFailed", "ValueError: the second epoch went wrong"),
        ("SIGSEGV", 65, "TrainingFailed", "SIGSEGV, which native code brings on itself"),
        ("SIGKILL", 75, "TrainingLost", "SIGKILL; its last line: about to end badly"),
    ],
)
def test_what_fails_by_itself_is_told_from_what_was_lost(
    pods: Pods, data: dict[str, str], end: str, status: int, reason: str, says: str
) -> None:
    pod = pods.start(module=MODULE, parameters={"end": end}, output=OUTPUT, **data)

    assert status == pod.wait(), pod.log
    assert reason == pod.word["reason"]
    assert says in pod.word["message"]


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"parameters": {"epoch": 2}}, "parameters.epoch: training 'TotalOfStepsTrain' has no such parameter"),
        ({"parameters": {"epochs": "two"}}, "parameters.epochs"),
        ({"task": "FitWordsTrain"}, "the class has no training 'FitWordsTrain'; it has: TotalOfStepsTrain"),
        ({"dataset_parameter": "rows"}, "dataset.parameter: there is no data parameter 'rows'"),
        ({"module": f"{MODULE.partition(':')[0]}:Stairs"}, "has no class 'Stairs'"),
        ({"module": "no_such_module:Steps"}, "no_such_module"),
        ({"parameters": {"data": [1]}}, "say which parameter takes the data"),
    ],
)
def test_what_does_not_fit_is_said_and_not_tried_again(
    pods: Pods, data: dict[str, str], order: dict[str, Any], says: str
) -> None:
    pod = pods.start(**{"module": MODULE, "output": OUTPUT, **data, **order})

    assert 65 == pod.wait(), pod.log
    assert says in pod.word["message"]


def test_a_bucket_that_is_not_there_ends_it_with_the_storages_reason(pods: Pods, data: dict[str, str]) -> None:
    nowhere = {"uri": "s3://nowhere/out", "at": "s3://nowhere/out"}

    pod = pods.start(module=MODULE, output=nowhere, **data)

    assert 65 == pod.wait(), pod.log
    assert "BucketNotFound" == pod.word["reason"]
    assert "cannot be stored" in pod.word["message"]


def test_a_folder_of_a_claim_keeps_checkpoints_and_models_as_a_bucket_does(
    pods: Pods, data: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "my claim 100%"
    claim = folder.as_uri()
    order = {
        "module": MODULE,
        "checkpoint": {"uri": "pvc://work/checkpoints", "at": f"{claim}/checkpoints"},
        "output": {"uri": "pvc://work/out", "at": f"{claim}/out"},
        "dataset": f"{data['dataset']}/numbers.jsonl",
        "dataset_uri": "pvc://work/numbers.jsonl",
    }
    first = pods.start(parameters={"epochs": 2, "pause": 60}, **order)
    first.wait_for(checkpoint=1)
    first.signal(signal.SIGKILL)
    first.wait()

    second = pods.start(parameters={"epochs": 2}, **order)

    assert 0 == second.wait(), second.log
    assert "began at epoch 1" in second.log
    made = second.word["artifact"]
    assert made["uri"].startswith("pvc://work/out/words/")
    assert "12" == (folder / "out" / made["uri"].removeprefix("pvc://work/out/") / "total").read_text()
    assert not (folder / "checkpoints" / "6f1c").exists()
