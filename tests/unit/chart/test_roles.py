"""What the roles of people hold, which Kubernetes adds to view, edit and admin."""

from __future__ import annotations

from scripts.generators.chart import CHART
from tests.yamls import parsed


def resources(role: str) -> set[str]:
    (found,) = (
        document
        for document in parsed(CHART.parents[1] / "config/install.yaml")
        if document["kind"] == "ClusterRole" and document["metadata"]["name"].endswith(f"-{role}")
    )
    return {resource for rule in found["rules"] for resource in rule["resources"]}


def test_whoever_may_edit_a_namespace_may_edit_all_that_can_be_seen_in_it() -> None:
    seen = {resource for resource in resources("view") if "/" not in resource}

    assert {"batchpredictions", "inferenceservices", "models", "servingruntimes", "trainingjobs"} == seen
    assert seen == resources("edit")
