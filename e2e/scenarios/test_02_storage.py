"""A model from each place that needs nothing outside of the cluster: a ConfigMap, a volume claim, a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.bucket import ACCESS_KEY, SECRET_KEY, Bucket
from e2e.harness.volume import NodeVolume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.harness.stage import Stage


@pytest.mark.smoke
def test_a_model_in_a_config_map_answers(stage: Stage) -> None:
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops"))

    stage.wait_ready("iris")

    assert stage.predict("iris")["data"] == [0]


@pytest.fixture
def volume(stage: Stage) -> Iterator[NodeVolume]:
    """A volume on the node's disk, bound to the claim `models`."""
    made = NodeVolume(stage.target, stage.namespace, "models")
    made.create({"iris/model.skops": models.iris().content})
    yield made
    made.remove()


@pytest.mark.smoke
def test_a_model_on_a_volume_claim_answers(stage: Stage, volume: NodeVolume) -> None:
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
