"""The manifests that the guides show are ones that the schema takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pillion.resources import load_manifests

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("train-in-the-cluster.md", ["TrainingJob", "InferenceService", "ServiceAccount", "InferenceService"]),
        ("batch-predictions.md", ["BatchPrediction", "BatchPrediction"]),
    ],
)
def test_the_manifests_of_a_guide_are_valid(page: str, expected: list[str]) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (HOW_TO / page).read_text(), re.DOTALL | re.MULTILINE)

    kinds = [manifest.kind for block in blocks for manifest in load_manifests(block, source=page)]

    assert expected == kinds
