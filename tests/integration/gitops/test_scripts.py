"""The health scripts and the patch that carries them, without a cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pillion.resources.crd import KINDS
from pillion_operator.state.reasons import Reason
from tests.integration.gitops.tools import ARGOCD, argo

if TYPE_CHECKING:
    from tests.integration.gitops.tools import Judgement


def test_the_patch_has_every_kinds_script_under_the_key_that_argo_cd_reads() -> None:
    patch = yaml.safe_load((ARGOCD / "argocd-cm.yaml").read_text())

    assert {
        f"resource.customizations.health.serving.pillion.dev_{kind.name}": (
            ARGOCD / f"{kind.name.lower()}.lua"
        ).read_text()
        for kind in KINDS
    } == patch["data"]


def test_both_kinds_of_runtime_have_the_same_script() -> None:
    assert (ARGOCD / "servingruntime.lua").read_text() == (ARGOCD / "clusterservingruntime.lua").read_text()


def test_the_script_names_only_reasons_that_there_are() -> None:
    table = (ARGOCD / "inferenceservice.lua").read_text().partition("local failures = {")[2].partition("}")[0]
    named = set(re.findall(r"(\w+) = true", table))

    assert named
    assert set() == named - {reason.value for reason in Reason}


def judged(*conditions: tuple[str, str, str], kind: str = "InferenceService", observed: int = 2) -> Judgement:
    given: dict[str, Any] = {
        "metadata": {"generation": 2},
        "status": {
            "observedGeneration": observed,
            "conditions": [
                {"type": name, "status": status, "reason": reason, "message": f"{name} says"}
                for name, status, reason in conditions
            ],
        },
    }
    return argo(kind, given)[0]


@pytest.mark.parametrize(
    ("health", "says", "conditions"),
    [
        ("Progressing", "no condition", []),
        ("Progressing", "Reconciling says", [("Ready", "False", "Starting"), ("Reconciling", "True", "Starting")]),
        ("Progressing", "Reconciling says", [("Ready", "True", "Loaded"), ("Reconciling", "True", "Progressing")]),
        ("Progressing", "Ready says", [("Ready", "False", "Starting")]),
        ("Healthy", "Ready says", [("Ready", "True", "Loaded"), ("Reconciling", "False", "Settled")]),
        ("Degraded", "Stalled says", [("Ready", "False", "Refused"), ("Stalled", "True", "Refused")]),
        ("Degraded", "Stalled says", [("Ready", "True", "Loaded"), ("Stalled", "True", "NameConflict")]),
        ("Degraded", "Ready says", [("Ready", "False", "OOMKilled"), ("Reconciling", "True", "OOMKilled")]),
        ("Suspended", "Stopped says", [("Ready", "False", "Stopped"), ("Stopped", "True", "Stopped")]),
    ],
)
def test_conditions_become_the_health_of_a_service(
    health: str, says: str, conditions: list[tuple[str, str, str]]
) -> None:
    found = judged(*conditions)

    assert health == found.status
    assert says in found.message


@pytest.mark.parametrize(
    ("health", "says", "conditions"),
    [
        ("Progressing", "no condition", []),
        ("Progressing", "Reconciling says", [("Ready", "False", "Running"), ("Reconciling", "True", "Running")]),
        ("Suspended", "Suspended says", [("Ready", "False", "Suspended"), ("Suspended", "True", "Suspended")]),
        ("Healthy", "Ready says", [("Ready", "True", "Completed"), ("Complete", "True", "Completed")]),
        ("Degraded", "Stalled says", [("Ready", "False", "TrainingFailed"), ("Stalled", "True", "TrainingFailed")]),
        ("Degraded", "Stalled says", [("Ready", "False", "NotFollowed"), ("Stalled", "True", "NotFollowed")]),
    ],
)
def test_conditions_become_the_health_of_a_training(
    health: str, says: str, conditions: list[tuple[str, str, str]]
) -> None:
    found = judged(*conditions, kind="TrainingJob")

    assert health == found.status
    assert says in found.message


@pytest.mark.parametrize(
    ("health", "conditions"),
    [
        ("Progressing", [("Ready", "False", "Running"), ("Reconciling", "True", "Running")]),
        ("Suspended", [("Ready", "False", "Suspended"), ("Suspended", "True", "Suspended")]),
        ("Healthy", [("Ready", "True", "Completed"), ("Complete", "True", "Completed")]),
        ("Degraded", [("Ready", "False", "TooManyFailures"), ("Stalled", "True", "TooManyFailures")]),
    ],
)
def test_conditions_become_the_health_of_a_batch_prediction(
    health: str, conditions: list[tuple[str, str, str]]
) -> None:
    assert health == judged(*conditions, kind="BatchPrediction").status
    assert "Progressing" == judged(*conditions, kind="BatchPrediction", observed=1).status


def test_a_status_of_an_older_generation_is_not_believed() -> None:
    assert "Progressing" == judged(("Ready", "True", "Loaded"), observed=1).status
    assert "Progressing" == judged(("Ready", "True", "Usable"), kind="ServingRuntime", observed=1).status


@pytest.mark.parametrize("kind", ["ServingRuntime", "ClusterServingRuntime"])
def test_a_runtime_that_nobody_reports_on_is_healthy(kind: str) -> None:
    assert "Healthy" == argo(kind, {"metadata": {"generation": 1}})[0].status


@pytest.mark.parametrize(
    ("health", "conditions"),
    [
        ("Progressing", []),
        ("Progressing", [("Ready", "False", "Progressing"), ("Reconciling", "True", "Progressing")]),
        ("Progressing", [("Ready", "False", "InferenceServiceNotFound"), ("Stalled", "False", "Settled")]),
        ("Healthy", [("Ready", "True", "Served"), ("Reconciling", "False", "Settled")]),
        ("Degraded", [("Ready", "False", "DigestMismatch"), ("Stalled", "True", "DigestMismatch")]),
        ("Suspended", [("Ready", "False", "Stopped"), ("Stalled", "False", "Settled")]),
    ],
)
def test_conditions_become_the_health_of_a_model(health: str, conditions: list[tuple[str, str, str]]) -> None:
    assert health == judged(*conditions, kind="Model").status
    assert "Progressing" == judged(*conditions, kind="Model", observed=1).status
