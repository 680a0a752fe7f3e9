"""The recipes of the how-to guides, applied as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service

if TYPE_CHECKING:
    from collections.abc import Iterator

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


def blocks(guide: str) -> Iterator[dict[str, Any]]:
    """The YAML of the guide, in order; fragments are indented as they stand in a manifest."""
    for text in re.findall(r"```yaml\n(.*?)```", (HOW_TO / guide).read_text(), re.DOTALL):
        yield yaml.safe_load(text)


def predictors(guide: str) -> Iterator[Any]:
    """The predictor that each block asks for."""
    for number, block in enumerate(blocks(guide)):
        given = block["spec"]["predictor"] if "spec" in block else dict(block)
        policy = {field: given.pop(field) for field in ("from", "adminFrom", "egress") if field in given}
        given |= {"networkPolicy": policy} if policy else {}
        if "autoScaling" in given:
            given["maxReplicas"] = 3
        given.setdefault("sklearn", {"storageUri": "s3://models/iris"})
        yield pytest.param(given, id=f"{guide}-{number}")


@pytest.mark.parametrize("predictor", [*predictors("exposure.md"), *predictors("autoscaling.md")])
def test_a_recipe_is_taken_and_has_its_effect(
    operator: OperatorProcess, api: Api, namespace: str, predictor: dict[str, Any]
) -> None:
    api.create(namespace, inference_service(**predictor))

    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured"))
    service = api.get("InferenceService", namespace, "iris")
    assert "True" == condition(service, "FieldsHonoured")["status"]
    assert "False" == condition(service, "Stalled")["status"], condition(service, "Stalled")
    by_an_autoscaler = "maxReplicas" in predictor and predictor.get("scaleMetric") != "concurrency"  # which is ours
    for wanted, kind in (
        ("networkPolicy" in predictor, "NetworkPolicy"),
        (by_an_autoscaler, "HorizontalPodAutoscaler"),
    ):
        eventually(lambda wanted=wanted, kind=kind: wanted == bool(api.get(kind, namespace, "iris-predictor")))  # type: ignore[misc]  # defaults bind the values
