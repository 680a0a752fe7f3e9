"""A model from each place that needs nothing outside of the cluster: a ConfigMap, a volume claim, a bucket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.bucket import ACCESS_KEY, SECRET_KEY, Bucket
from e2e.harness.volume import Volume

if TYPE_CHECKING:
    from e2e.harness.stage import Stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "iris"


@pytest.mark.smoke
def test_the_example_is_served_from_a_config_map_as_its_comments_say(stage: Stage, tmp_path: Path) -> None:
    kubectl, scope = stage.target.kubectl, f"--namespace={stage.namespace}"
    subprocess.run([sys.executable, EXAMPLE / "train.py", tmp_path], check=True, capture_output=True)
    kubectl("create", "configmap", "iris", f"--from-file={tmp_path / 'iris.skops'}", scope)

    kubectl("apply", f"--filename={EXAMPLE}", scope)

    kubectl("wait", "pisvc/iris", "--for=condition=Ready", "--timeout=120s", scope, timeout=130)
    assert stage.predict("iris")["data"] == [0]


@pytest.mark.smoke
def test_a_model_on_a_volume_claim_answers(stage: Stage) -> None:
    Volume(stage, "models").write("iris/model.skops", models.iris().content)
    stage.apply(manifests.inference_service("iris", "pvc://models/iris"))

    stage.wait_ready("iris")

    assert stage.predict("iris")["data"] == [0]


@pytest.mark.smoke
def test_a_model_in_a_bucket_answers_with_the_credentials_of_the_service_account(stage: Stage) -> None:
    bucket = Bucket(stage, "models")
    bucket.start()
    bucket.put("iris/model.skops", models.iris().content)
    stage.apply(*bucket.credentials("store", "model-reader"))
    model = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "s3://models/iris/model.skops",
        "digest": models.iris().digest,
    }
    stage.apply(manifests.inference_service("iris", model=model, serviceAccountName="model-reader"))

    ready = stage.wait_ready("iris")

    assert stage.predict("iris")["data"] == [0]
    # What a status says is read by people who may not read Secrets.
    assert ACCESS_KEY not in str(ready)
    assert SECRET_KEY not in str(ready)
