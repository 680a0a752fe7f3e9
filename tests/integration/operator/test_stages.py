"""Steps and analysis of a rollout, by what pods count. The tests play the kubelet and the pods, on real sockets."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.harness import Api, Object, OperatorProcess, condition, eventually
from tests.integration.operator.test_canaries import CANARY, canary
from tests.integration.operator.test_pod_scaling import CountingPods
from tests.integration.operator.test_rolling_back import PATIENCE, change, names, ready, states
from tests.integration.operator.test_rolling_back import rolled_out as rolled_out_in_haste

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Requests a second of each pod.
RATE = 200.0


class AnsweringPods(CountingPods):
    """Pods that answer so many requests a second since they came; of the newest some fail, and some are slow."""

    def __init__(self) -> None:
        super().__init__()
        self._since: dict[str, float] = {}
        self.newest_failing = 0.0
        self.newest_slow = 0.0
        self.stable_failing = 0.0

    def text(self, pod: str) -> str:
        newest = pod.startswith(CANARY)
        seconds = time.monotonic() - self._since.setdefault(pod, time.monotonic())
        requests = round(RATE * seconds)
        failed = round(requests * (self.newest_failing if newest else self.stable_failing))
        slow = round(requests * self.newest_slow) if newest else 0
        lines = [
            f'pillion_requests_total{{code="ok",model="m",protocol="rest",version="1"}} {requests - failed}',
            f'pillion_requests_total{{code="model_failed",model="m",protocol="rest",version="1"}} {failed}',
        ]
        for bound, count in (
            ("0.05", requests - slow),
            ("0.1", requests - slow),
            ("0.5", requests),
            ("+Inf", requests),
        ):
            lines.append(f'pillion_request_duration_seconds_bucket{{le="{bound}",model="m"}} {count}')
        return "\n".join(lines) + "\n"


@pytest.fixture
def answering() -> Iterator[AnsweringPods]:
    found = AnsweringPods()
    with contextlib.ExitStack() as stack:
        stack.callback(found.silence)
        yield found


def rolled_out(api: Api, namespace: str, rollout: Object, **predictor: Any) -> None:
    """A busy machine may not make a pod within seconds."""
    rolled_out_in_haste(api, namespace, rollout=PATIENCE | rollout, **predictor)


def until(answering: AnsweringPods, api: Api, namespace: str, look: Callable[[], Any]) -> Any:
    """The first true value of `look`, while pods that come answer and are Ready."""
    return eventually(lambda: answering.ready(api, namespace) and look(), pause=0.1)


def told(api: Api, namespace: str, reason: str) -> list[str]:
    found = [event for event in api.list("Event", namespace) if event["reason"] == reason]
    return [event["message"] for event in sorted(found, key=lambda event: event["metadata"]["creationTimestamp"])]


def test_steps_follow_each_other_and_the_last_one_takes_over(
    operator: OperatorProcess, api: Api, namespace: str, answering: AnsweringPods
) -> None:
    steps = [{"weight": 25, "pause": "2s"}, {"weight": 50, "pause": "8s"}]
    rolled_out(api, namespace, {"steps": steps}, minReplicas=3)
    old = names(api, namespace)

    since = change(api, namespace, timeout=7)["metadata"]["resourceVersion"]

    # All that served before serves on up to the second step.
    until(answering, api, namespace, lambda: canary(api, namespace).get("actual") == 50 and old < names(api, namespace))
    until(answering, api, namespace, lambda: states(api, namespace) == {1: "RolledOut", 2: "RolledOut"})
    until(answering, api, namespace, lambda: api.get("Deployment", namespace, CANARY) is None)
    eventually(lambda: not old & names(api, namespace))
    eventually(lambda: not canary(api, namespace))
    # The first may be over before anybody looks.
    history = [one["status"].get("canary", {}) for one in api.history("InferenceService", namespace, since)]
    steps_seen = [(found["step"], found["requested"]) for found in history if "step" in found]
    # While the newest version takes over, the last step's share may be told as all.
    assert [("1 of 2", 25), ("2 of 2", 50)] == list(dict.fromkeys(steps_seen))[:2]
    wanted = {
        f"Step {step} of 2 of the rollout: {share} % for the newest version." for step, share in ((1, 25), (2, 50))
    }
    wanted.add("All 2 steps of the rollout have passed, and the newest version takes over.")
    eventually(lambda: wanted <= set(told(api, namespace, "RolloutStep")))


def test_a_newest_version_that_does_as_well_is_promoted_with_its_figures(
    operator: OperatorProcess, api: Api, namespace: str, answering: AnsweringPods
) -> None:
    analysis = {"errorRate": "5%", "latency": "100ms", "window": "10s"}
    rolled_out(api, namespace, {"steps": [{"weight": 50, "pause": "1s"}], "analysis": analysis}, minReplicas=1)
    # What both suffer from now and then is within the limit.
    answering.newest_failing = answering.stable_failing = 0.01

    change(api, namespace, timeout=7)

    passed = "Passes: "
    until(answering, api, namespace, lambda: canary(api, namespace).get("analysis", "").startswith("Holds: "))
    until(answering, api, namespace, lambda: any(passed in one for one in told(api, namespace, "RolloutStep")))
    until(answering, api, namespace, lambda: states(api, namespace) == {1: "RolledOut", 2: "RolledOut"})
    said = eventually(lambda: [one for one in told(api, namespace, "RolloutStep") if "takes over" in one])[0]
    assert "requests failed (last good revision: " in said
    assert "99 % of requests took up to 50 ms" in said


@pytest.mark.parametrize(
    ("failing", "slow", "said"), [(0.5, 0.0, "requests failed"), (0.0, 0.5, "99 % of requests took up to 500 ms")]
)
def test_a_newest_version_that_does_worse_loses_its_share_and_the_condition_has_the_figures(
    operator: OperatorProcess,
    api: Api,
    namespace: str,
    answering: AnsweringPods,
    failing: float,
    slow: float,
    said: str,
) -> None:
    analysis = {"errorRate": "1%", "latency": "100ms", "window": "30s"}
    rolled_out(api, namespace, {"steps": [{"weight": 50, "pause": "1h"}], "analysis": analysis})
    old = names(api, namespace)
    answering.newest_failing, answering.newest_slow = failing, slow

    change(api, namespace, timeout=7)

    def lost() -> bool:
        found = condition(api.get("InferenceService", namespace, "iris"), "Ready")
        return found.get("reason") == "RolledBack"

    until(answering, api, namespace, lost)
    message = ready(api, namespace, "RolledBack")["message"]
    assert "did not do as well as asked and was rolled back to revision 1" in message
    assert said in message
    assert "last good revision: " in message
    eventually(lambda: names(api, namespace) == old)
    eventually(lambda: {1: "RolledOut", 2: "Failed"} == states(api, namespace))
    eventually(lambda: any(said in one for one in told(api, namespace, "RolledBack")))


def test_what_both_versions_suffer_from_holds_the_rollout_and_rolls_nothing_back(
    operator: OperatorProcess, api: Api, namespace: str, answering: AnsweringPods
) -> None:
    analysis = {"errorRate": "1%", "window": "5s"}
    rolled_out(api, namespace, {"steps": [{"weight": 50, "pause": "1s"}], "analysis": analysis})
    answering.newest_failing = answering.stable_failing = 0.2

    change(api, namespace, timeout=7)

    def held() -> bool:
        assert [] == told(api, namespace, "RolledBack")
        return "Holds: " in canary(api, namespace).get("analysis", "")

    until(answering, api, namespace, held)
    # Once what both suffered from has passed, the rollout goes on.
    answering.newest_failing = answering.stable_failing = 0.0
    until(answering, api, namespace, lambda: states(api, namespace) == {1: "RolledOut", 2: "RolledOut"})


def test_a_share_by_hand_is_watched_too(
    operator: OperatorProcess, api: Api, namespace: str, answering: AnsweringPods
) -> None:
    rolled_out(api, namespace, {"analysis": {"errorRate": "1%", "window": "30s"}}, canaryTrafficPercent=100)
    answering.newest_failing = 0.5

    change(api, namespace, timeout=7, canaryTrafficPercent=50)

    until(answering, api, namespace, lambda: {1: "RolledOut", 2: "Failed"} == states(api, namespace))
    assert "did not do as well" in ready(api, namespace, "RolledBack")["message"]
