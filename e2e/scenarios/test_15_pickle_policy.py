"""Who decides about pickles and classes, which can run code: the chart, a label of the namespace, the manifest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.bucket import Bucket
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.harness.release import Release
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_LABEL = "serving.pillion.dev/pickle-policy"
_CODE_LABEL = "serving.pillion.dev/code-policy"
_SERVICE = """
import numpy as np
import words
from numpy.typing import NDArray
from pillion import Model

class Sums(Model):
    def load(self, artifact):
        self.factor = int((artifact / "factor.txt").read_text())

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return words.total(x) * self.factor
"""


@pytest.fixture
def chart_policy(release: Release, request: pytest.FixtureRequest) -> Iterator[str]:
    """The policy of the chart, for one test."""
    release.ensure(f"--set=modelPolicy.pickle={request.param}")
    yield request.param
    release.ensure()


def _apply(stage: Stage, *, consent: bool, name: str) -> None:
    model: dict[str, Any] = {"modelFormat": {"name": "sklearn"}, "storageUri": "configmap://iris/model.joblib"}
    if consent:
        model["allowPickle"] = True
    stage.apply(
        manifests.config_map("iris", models.joblib_iris()),
        manifests.inference_service(name, model=model),
    )


def _label(stage: Stage, policy: str) -> None:
    stage.target.kubectl("label", "namespace", stage.namespace, f"{_LABEL}={policy}", "--overwrite")


def test_by_default_the_manifest_decides(stage: Stage) -> None:
    _apply(stage, consent=False, name="silent")
    _apply(stage, consent=True, name="consenting")

    refused = stage.wait_reason("silent", "UnsafeFormat")["message"]
    stage.wait_ready("consenting")

    assert "allowPickle: true" in refused
    assert stage.predict("consenting")["data"] == [0]


def test_a_namespace_that_denies_overrules_the_manifest_until_its_label_allows(stage: Stage) -> None:
    _label(stage, "deny")
    _apply(stage, consent=True, name="iris")
    refused = stage.wait_reason("iris", "UnsafeFormat")["message"]
    unheard = stage.wait_reason("iris", "FieldsNotHonoured", kind="FieldsHonoured")["message"]

    _label(stage, "allow")
    stage.wait_ready("iris")
    assert stage.predict("iris")["data"] == [0]
    _apply(stage, consent=False, name="without-a-word")
    stage.wait_ready("without-a-word")

    assert "deny" in refused
    assert "allowPickle" in unheard


@pytest.mark.parametrize("chart_policy", ["deny"], indirect=True)
def test_a_chart_that_denies_holds_where_no_namespace_says_otherwise(stage: Stage, chart_policy: str) -> None:
    _apply(stage, consent=True, name="iris")
    refused = stage.wait_reason("iris", "UnsafeFormat")["message"]

    _label(stage, "perObject")
    stage.wait_ready("iris")

    assert chart_policy in refused
    assert stage.predict("iris")["data"] == [0]


@pytest.mark.parametrize("chart_policy", ["allow"], indirect=True)
def test_a_chart_that_allows_asks_for_no_consent(stage: Stage, chart_policy: str) -> None:
    _apply(stage, consent=False, name="iris")
    stage.wait_ready("iris")

    assert chart_policy == "allow"
    assert stage.predict("iris")["data"] == [0]


def test_a_class_in_a_bucket_is_refused_then_trusted_and_served(stage: Stage) -> None:
    bucket = Bucket(stage, "models")
    bucket.start()
    for name, text in {
        "service.py": _SERVICE,
        "words.py": "def total(rows):\n    return rows.sum(axis=1)\n",
        "factor.txt": "2",
    }.items():
        bucket.put(f"sums/{name}", text.encode())
    stage.apply(*bucket.credentials("store", "model-reader"))

    def apply(**own: object) -> None:
        model = {"modelFormat": {"name": "python"}, "storageUri": "s3://models/sums", **own}
        stage.apply(manifests.inference_service("sums", model=model, serviceAccountName="model-reader"))

    apply()
    refused = stage.wait_reason("sums", "UntrustedCode")["message"]
    assert "spec.predictor.model.trustCode: true" in refused
    assert "--image HOST/NAME:TAG" in refused
    assert stage.pods("sums") == []

    stage.target.kubectl("label", "namespace", stage.namespace, f"{_CODE_LABEL}=deny")
    eventually(
        lambda: stage.condition("sums")["message"],
        lambda said: "the code policy is 'deny'" in said,
        within=90,
        what="the operator has seen the label",
    )
    apply(trustCode=True)
    stage.wait_reason("sums", "UntrustedCode")
    assert stage.pods("sums") == []

    stage.target.kubectl("label", "namespace", stage.namespace, f"{_CODE_LABEL}=perObject", "--overwrite")
    # A label is seen by the next periodic round, within a minute.
    stage.wait_ready("sums", within=150)

    url = f"http://sums-predictor.{stage.namespace}.svc.cluster.local/v1/models/sums:predict"
    done = stage.client("curl", "--silent", "--fail-with-body", "--json", '{"instances": [[1, 2], [3, 4]]}', url)
    assert json.loads(done.stdout) == {"predictions": [6.0, 14.0]}
