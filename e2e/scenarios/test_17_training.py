"""A classifier trained in the cluster on data in a bucket, killed in the middle, finished, served and called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests
from e2e.harness.bucket import Bucket
from e2e.harness.stage import infer_request
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.stage import Stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
OWNER = "serving.pillion.dev/trainingjob=digits"
_EPOCHS = 300


def training(stage: Stage) -> dict[str, Any]:
    found = stage.get("ptrain", "digits") or {}
    status: dict[str, Any] = found.get("status", {})
    return status


@pytest.mark.full
def test_a_training_that_is_killed_goes_on_elsewhere_and_its_model_is_served(stage: Stage) -> None:
    made = subprocess.run([sys.executable, EXAMPLE / "data.py"], check=True, capture_output=True).stdout
    bucket = Bucket(stage, "models")
    bucket.start()
    bucket.put("data/digits.jsonl", made)
    stage.apply(
        *bucket.credentials("store", "trainer"),
        manifests.config_map("code", text={"digits.py": (EXAMPLE / "digits.py").read_text()}),
        manifests.inference_service(
            "digits", model={"modelFormat": {"name": "sklearn"}}, followTrainings=True, serviceAccountName="trainer"
        ),
    )
    stage.wait_reason("digits", "WaitingForTraining")
    spec = {
        "module": "/code/digits.py:Digits",
        "parameters": {"epochs": _EPOCHS, "batch": 64},
        "dataset": {"uri": "s3://models/data/digits.jsonl"},
        "output": {"uri": "s3://models/trained"},
        "checkpoint": {"uri": "s3://models/checkpoints"},
        "serviceAccountName": "trainer",
        "volumes": [{"name": "code", "configMap": {"name": "code"}}],
        "volumeMounts": [{"name": "code", "mountPath": "/code", "readOnly": True}],
        "deploy": {"inferenceService": "digits"},
    }
    metadata = {"name": "digits"}
    stage.apply({"apiVersion": manifests.API_VERSION, "kind": "TrainingJob", "metadata": metadata, "spec": spec})

    def is_under_way(status: dict[str, Any]) -> bool:
        return status.get("state") == "RUNNING" and status.get("checkpoint", 0) >= 2

    killed = eventually(lambda: training(stage), is_under_way, within=120, what="the training has made checkpoints")
    first = stage.items("pods", OWNER)[0]["metadata"]["name"]
    stage.delete("pod", first, "--grace-period=0", "--force", "--wait=false")
    second = eventually(
        lambda: [pod["metadata"]["name"] for pod in stage.items("pods", OWNER) if pod["metadata"]["name"] != first],
        bool,
        within=90,
        what="another pod goes on",
    )[0]
    scope = f"--namespace={stage.namespace}"
    stage.target.kubectl("wait", "ptrain/digits", "--for=condition=Ready", "--timeout=240s", scope, timeout=250)

    done = training(stage)
    log = stage.target.kubectl("logs", second, "--container=training", scope)
    resumed = next(line for line in log.splitlines() if "going on from checkpoint" in line)
    assert int(json.loads(resumed)["message"].rsplit(" ", 1)[1]) >= killed["checkpoint"]
    assert (done["state"], done["progress"]) == ("COMPLETED", 100)
    assert done["attempts"] >= 2
    assert done["metrics"]["accuracy"] > 0.9
    served = stage.get("pisvc", "digits") or {}
    assert done["artifact"]["digest"] == served["status"]["training"]["digest"]
    assert "storageUri" not in served["spec"]["predictor"]["model"]
    rows = [json.loads(line) for line in made.splitlines()[:20]]
    body = infer_request([[pixel / 16 for pixel in row["pixels"]] for row in rows])
    url = f"http://digits-predictor.{stage.namespace}.svc.cluster.local/v2/models/digits/infer"
    header = "Content-Type: application/json"
    answer = stage.client("curl", "--silent", "--fail-with-body", "--header", header, "--data", "@-", url, stdin=body)
    found = json.loads(answer.stdout)["outputs"][0]["data"]
    right = sum(label == row["digit"] for label, row in zip(found, rows, strict=True))
    assert right >= 18
    listed = stage.target.kubectl("get", "ptrain", scope)
    assert listed.splitlines()[0].split() == ["NAME", "STATE", "PROGRESS", "ATTEMPTS", "REASON", "AGE"]
