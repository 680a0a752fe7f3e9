"""Rollouts, shares and counts of pods by an operator that is the only one: of one namespace, and started again.

Beside the operator of the whole cluster that other modules have, two would decide about the same service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.operator.harness import Api, eventually, running
from tests.integration.operator.scaled import create, replicas
from tests.integration.operator.test_canaries import CANARY, canary, counts, rolled_out, shared
from tests.integration.operator.test_pod_scaling import CountingPods, counting
from tests.integration.operator.test_pod_scaling import running as served
from tests.integration.operator.test_rolling_back import change, names, ready, states
from tests.integration.operator.test_rolling_back import rolled_out as rolled_out_in_haste

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

__all__ = ["counting"]


def both_stay_under_another(
    cluster: ControlPlane, api: Api, namespace: str, log: Path, settings: dict[str, str]
) -> None:
    """Another operator finds nothing to do, and leaves the stable pods and the canary's as they are."""
    before = [api.get("Deployment", namespace, name) for name in ("iris-predictor", CANARY)]
    with running(cluster.kubeconfig, log, **settings) as process:
        process.wait_leading()
        process.at_rest()

        assert 0 == process.writes()
    assert before == [api.get("Deployment", namespace, name) for name in ("iris-predictor", CANARY)]


def test_a_roll_back_outlives_the_operator(cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path) -> None:
    settings = {"namespaces": namespace, "lease_namespace": namespace}
    with running(cluster.kubeconfig, tmp_path / "one.log", **settings) as process:
        process.wait_leading()
        rolled_out_in_haste(api, namespace)
        old = names(api, namespace)
        change(api, namespace, labels={"team": "a"})
        ready(api, namespace, "RolledBack")
        eventually(lambda: names(api, namespace) == old)
        process.at_rest()
    before = api.get("Deployment", namespace, "iris-predictor")
    with running(cluster.kubeconfig, tmp_path / "two.log", **settings) as process:
        process.wait_leading()
        process.at_rest()

        after = api.get("Deployment", namespace, "iris-predictor")
        assert before is not None
        assert after is not None
        assert before["spec"] == after["spec"]
        assert 0 == process.writes()


def test_a_share_outlives_the_operator(cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path) -> None:
    settings = {"namespaces": namespace, "lease_namespace": namespace}
    with running(cluster.kubeconfig, tmp_path / "one.log", **settings) as process:
        process.wait_leading()
        rolled_out(api, namespace, minReplicas=3)
        change(api, namespace, timeout=7, canaryTrafficPercent=25)
        shared(api, namespace, 25)
        process.at_rest()
    both_stay_under_another(cluster, api, namespace, tmp_path / "two.log", settings)


def test_the_steps_of_a_rollout_go_on_where_they_were_under_another_operator(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    steps = [{"weight": 25, "pause": "1s"}, {"weight": 50, "pause": "1h"}]
    settings = {"namespaces": namespace, "lease_namespace": namespace}
    with running(cluster.kubeconfig, tmp_path / "one.log", **settings) as process:
        process.wait_leading()
        rolled_out(api, namespace, minReplicas=3, rollout={"progressDeadline": "10m", "steps": steps})
        change(api, namespace, timeout=7)
        assert "2 of 2" == shared(api, namespace, 50)["step"]
        process.at_rest()
    both_stay_under_another(cluster, api, namespace, tmp_path / "two.log", settings)


def test_an_operator_of_one_namespace_scales_what_serves_beside_a_share_for_the_newest(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path, counting: CountingPods
) -> None:
    settings = {"namespaces": namespace, "lease_namespace": namespace}
    with running(cluster.kubeconfig, tmp_path / "operator.log", **settings) as process:
        process.wait_leading()
        create(api, namespace, minReplicas=1, maxReplicas=6, scaleMetric="concurrency", scaleTarget=10)
        served(api, namespace, counting, 1)
        eventually(lambda: states(api, namespace) == {1: "RolledOut"})
        # The same load in all of them, however many there are.
        counting.in_progress = 16
        eventually(lambda: replicas(api, namespace) == 2)
        counting.in_progress = 8
        served(api, namespace, counting, 2)

        change(api, namespace, timeout=7, canaryTrafficPercent=60)
        eventually(lambda: counts(api, namespace) == (2, 2))
        counting.in_progress = 4
        eventually(lambda: counting.ready(api, namespace) and canary(api, namespace).get("actual") == 50)

        process.at_rest()
        writes, asked = process.writes(), counting.asked
        eventually(lambda: counting.asked >= asked + 5 * 4)
        assert (2, 2) == counts(api, namespace)
        assert writes == process.writes()
