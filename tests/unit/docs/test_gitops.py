"""The GitOps guide shows the files of the example, which a test builds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/how-to/gitops.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["kustomization.yaml", "images.yaml"])
def test_the_guide_shows_the_examples_file(name: str) -> None:
    file = yaml.safe_load((ROOT / "examples" / "gitops" / name).read_text())

    assert file in [yaml.safe_load(block) for block in BLOCKS]
