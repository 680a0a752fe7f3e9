"""Who decides about a file that can run code: the chart for all, a label for the namespace, then the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.harness.release import Release
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_LABEL = "serving.pillion.dev/pickle-policy"


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
