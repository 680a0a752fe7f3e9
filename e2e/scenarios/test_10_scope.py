"""`scope: namespaced`: Roles instead of ClusterRoles, and nothing outside the listed namespaces is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.release import NAMESPACE, OPERATOR, Release
from e2e.harness.waiting import always

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.harness.stage import Stage
    from e2e.harness.target import Target

pytestmark = pytest.mark.full


@pytest.fixture
def stages(target: Target, new_stage: Callable[[str], Stage]) -> Iterator[tuple[Stage, Stage]]:
    """A namespace that the operator looks after and one that it does not; the whole cluster again afterwards."""
    release = Release(target)
    inside, outside = new_stage("inside"), new_stage("outside")
    release.ensure("--set=scope=namespaced", f"--set=namespaces={{{inside.namespace}}}")
    yield inside, outside
    release.ensure()


def test_only_the_listed_namespace_is_served(stages: tuple[Stage, Stage]) -> None:
    inside, outside = stages
    for stage in stages:
        stage.apply(manifests.config_map("iris", models.iris()))
        stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops"))

    inside.wait_ready("iris")

    assert inside.predict("iris")["data"] == [0]
    always(lambda: outside.children("iris"), lambda found: found == [], during=5, what="nothing is made outside")


def test_the_operator_may_do_nothing_outside(stages: tuple[Stage, Stage]) -> None:
    inside, outside = stages
    who = f"--as=system:serviceaccount:{NAMESPACE}:{OPERATOR}"

    def may(verb: str, what: str, stage: Stage) -> str:
        return stage.target.kubectl.run(
            "auth", "can-i", verb, what, who, f"--namespace={stage.namespace}", check=False
        ).stdout.strip()

    assert may("create", "deployments.apps", inside) == "yes"
    assert may("create", "deployments.apps", outside) == "no"
    assert may("get", "secrets", outside) == "no"
    assert may("list", "secrets", inside) == "no"
