"""Rows of a bucket predicted by pods that load the model, one of them killed in the middle, and by a service."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.bucket import Bucket
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.stage import Stage

OWNER = "serving.pillion.dev/batchprediction=flowers"
_ROWS = 200_000
_SHARD = 1 << 20


def _batch(name: str, **spec: object) -> manifests.Manifest:
    return {
        "apiVersion": manifests.API_VERSION,
        "kind": "BatchPrediction",
        "metadata": {"name": name},
        "spec": {
            "input": {"uri": "s3://models/in/", "splitBytes": _SHARD},
            "output": {"uri": "s3://models/out"},
            "serviceAccountName": "reader",
            **spec,
        },
    }


def _status(stage: Stage, name: str = "flowers") -> dict[str, Any]:
    status: dict[str, Any] = (stage.get("pbatch", name) or {}).get("status", {})
    return status


@pytest.mark.full
def test_a_batch_whose_pod_is_killed_predicts_every_row_once(stage: Stage) -> None:
    model = models.iris()
    bucket = Bucket(stage, "models")
    bucket.start()
    bucket.put(f"iris/{model.name}", model.content)
    rows = "".join(f"{5 + n % 7 / 10},3.5,1.4,0.2\n" for n in range(_ROWS))
    bucket.put("in/flowers.csv", f"a,b,c,d\n{rows}not,a,flower,x\n".encode())
    stage.apply(*bucket.credentials("store", "reader"))
    own = {"storageUri": f"s3://models/iris/{model.name}", "modelFormat": {"name": "sklearn"}}
    stage.apply(_batch("flowers", model=own, parallelism=2, batchSize=64, maxFailures=1))

    def is_under_way(status: dict[str, Any]) -> bool:
        return status.get("state") == "RUNNING" and status.get("rows", {}).get("written", 0) > 0

    eventually(lambda: _status(stage), is_under_way, within=120, what="rows are predicted")
    first = stage.items("pods", OWNER)[0]["metadata"]["name"]
    stage.delete("pod", first, "--grace-period=0", "--force", "--wait=false")
    scope = f"--namespace={stage.namespace}"
    stage.target.kubectl("wait", "pbatch/flowers", "--for=condition=Ready", "--timeout=240s", scope, timeout=250)

    done = _status(stage)
    assert done["state"] == "COMPLETED"
    assert done["rows"] == {"read": _ROWS + 1, "written": _ROWS, "failed": 1}
    assert done["shards"]["total"] == done["shards"]["done"] > 1
    pods = [pod["metadata"]["name"] for pod in stage.items("pods", OWNER)]
    assert len([name for name in pods if name != first]) >= 2
    seen: list[int] = []
    for number in range(done["shards"]["total"]):
        part = bucket.get(f"out/flowers/part-{number:05d}.csv")
        seen += [int(row["row"]) for row in csv.DictReader(part.splitlines())]
    assert seen == list(range(1, _ROWS + 1))
    last = done["shards"]["total"] - 1
    error = json.loads(bucket.get(f"out/flowers/_errors/part-{last:05d}.jsonl"))
    assert (error["row"], error["file"]) == (_ROWS + 1, "flowers.csv")
    listed = stage.target.kubectl("get", "pbatch", scope)
    assert listed.splitlines()[0].split() == ["NAME", "STATE", "SHARDS", "ROWS", "FAILED", "REASON", "AGE"]


@pytest.mark.full
def test_a_batch_by_a_service_gives_what_the_service_answers(stage: Stage) -> None:
    model = models.iris()
    bucket = Bucket(stage, "models")
    bucket.start()
    bucket.put("in/flowers.jsonl", b"[5.1, 3.5, 1.4, 0.2]\n" * 1000)
    stage.apply(*bucket.credentials("store", "reader"), manifests.config_map("iris", model))
    stage.apply(_batch("by-service", inferenceService="iris"))
    eventually(
        lambda: _status(stage, "by-service").get("reason"),
        lambda reason: reason == "InferenceServiceNotFound",
        within=60,
        what="the service is missed",
    )
    stage.apply(manifests.inference_service("iris", sklearn={"storageUri": "configmap://iris"}))

    scope = f"--namespace={stage.namespace}"
    stage.target.kubectl("wait", "pbatch/by-service", "--for=condition=Ready", "--timeout=240s", scope, timeout=250)

    lines = bucket.get("out/by-service/part-00000.jsonl").splitlines()
    assert {json.loads(line)["prediction"] for line in lines} == {model.answer}
    assert len(lines) == 1000
    stage.delete("pbatch", "by-service")
    eventually(
        lambda: stage.items("pods", "serving.pillion.dev/batchprediction=by-service"),
        lambda pods: pods == [],
        within=60,
        what="its pods are gone",
    )
