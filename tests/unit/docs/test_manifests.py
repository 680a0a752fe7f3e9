"""Each manifest that a document shows is one that the API server takes, fragments at the place that they are for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pillion.resources import API_VERSION, validate

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
YAML = re.compile(r'^```yaml(?: title="[^"]+")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
HEREDOC = re.compile(r"^kubectl apply -f - <<'END'\n(.*?)^END", re.MULTILINE | re.DOTALL)
SPEC, PREDICTOR, POLICY = ("spec",), ("spec", "predictor"), ("spec", "predictor", "networkPolicy")
PLACES = {
    "predictor": SPEC,
    "autoScaling": PREDICTOR,
    "rollout": PREDICTOR,
    "sklearn": PREDICTOR,
    "from": POLICY,
    "egress": POLICY,
}
"""Where a block that is no whole manifest belongs, by its first key."""


def manifests() -> list[Any]:
    """Every manifest of ours in the documents, fragments completed."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for number, block in enumerate([*YAML.findall(text), *HEREDOC.findall(text)]):
            content = yaml.safe_load(block)
            first = next(iter(content))
            if first in PLACES:
                content = completed(content, PLACES[first])
            if content.get("apiVersion") == API_VERSION:
                found.append(pytest.param(content, id=f"{page.relative_to(ROOT)}-{number}"))
    return found


def completed(fragment: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    predictor: dict[str, Any] = {"maxReplicas": 2}
    if not fragment.keys() & {"sklearn", "predictor"}:
        predictor["sklearn"] = {"storageUri": "s3://models/iris"}
    manifest: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "InferenceService",
        "metadata": {"name": "iris"},
        "spec": {"predictor": predictor},
    }
    at: dict[str, Any] = manifest
    for key in place:
        at = at.setdefault(key, {})
    at.update(fragment)
    return manifest


@pytest.mark.parametrize("manifest", manifests())
def test_a_manifest_of_a_document_is_valid(manifest: dict[str, Any]) -> None:
    assert [] == validate(manifest)


def test_the_manifests_of_the_readme_and_of_the_guides_are_found() -> None:
    pages = {str(one.id).rpartition("-")[0] for one in manifests()}

    assert {"README.md", "docs/how-to/exposure.md", "docs/how-to/autoscaling.md", "docs/how-to/build.md"} <= pages
