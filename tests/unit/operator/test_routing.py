from __future__ import annotations

from typing import Any

import pytest

from pillion_operator.handlers.routing import is_news
from pillion_operator.state.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER


def autoscaler(
    version: str = "1", *, load: int = 50, most: int = 9, active: str = "True", message: str = ""
) -> dict[str, Any]:
    condition = {"type": "ScalingActive", "status": active, "message": message}
    return {
        "metadata": {"name": "iris-predictor", "resourceVersion": version},
        "spec": {"maxReplicas": most},
        "status": {"currentMetrics": [load], "conditions": [condition]},
    }


@pytest.mark.parametrize(
    ("news", "after"),
    [
        (False, autoscaler("2", load=51)),
        (True, autoscaler("2", most=90)),
        (True, autoscaler("2", active="False")),
    ],
)
def test_the_load_that_an_autoscaler_saw_is_no_news(news: bool, after: dict[str, Any]) -> None:  # noqa: FBT001 - a case of the table
    assert news == is_news(HORIZONTAL_POD_AUTOSCALER, autoscaler(), after)


@pytest.mark.parametrize(
    ("news", "after"),
    [
        (False, "failed to get cpu utilization: missing request for cpu in container side of Pod iris-predictor-7-b"),
        (True, "failed to get cpu utilization: missing request for cpu in container spy of Pod iris-predictor-7-a"),
    ],
)
def test_another_pod_of_which_the_same_is_said_is_no_news(news: bool, after: str) -> None:  # noqa: FBT001 - a case of the table
    before = "failed to get cpu utilization: missing request for cpu in container side of Pod iris-predictor-7-a"

    assert news == is_news(HORIZONTAL_POD_AUTOSCALER, autoscaler(message=before), autoscaler("2", message=after))


def test_what_was_not_known_and_what_is_of_another_kind_is_news() -> None:
    assert is_news(HORIZONTAL_POD_AUTOSCALER, None, autoscaler())
    assert is_news(DEPLOYMENT, autoscaler(), autoscaler("2"))
