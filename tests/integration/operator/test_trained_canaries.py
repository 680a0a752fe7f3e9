"""Models of trainings by a share of requests, and those whose pods do not become ready. The tests play the kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.harness import condition, eventually, training_job
from tests.integration.operator.kubelet import make_ready
from tests.integration.operator.test_canaries import counts, rolled_out
from tests.integration.operator.test_rolling_back import crash, names
from tests.integration.operator.test_rolling_back import rolled_out as rolled_out_in_haste
from tests.integration.operator.test_trainings import ARTIFACT, complete

if TYPE_CHECKING:
    from tests.integration.operator.harness import Api

pytestmark = pytest.mark.usefixtures("operator")


def deployed(api: Api, namespace: str, reason: str) -> dict[str, Any]:
    """The condition Deployed, once it has that reason; pods of the service become ready meanwhile."""

    def look() -> dict[str, Any] | None:
        make_ready(api, namespace)
        found = condition(api.get("TrainingJob", namespace, "digits"), "Deployed")
        return found if found.get("reason") == reason else None

    found = eventually(look)
    assert found is not None
    return found


def test_a_model_gets_a_share_of_the_requests_until_its_training_says_all(api: Api, namespace: str) -> None:
    rolled_out(api, namespace, minReplicas=3, followTrainings=True)
    api.create(namespace, training_job(deploy={"inferenceService": "iris", "canaryTrafficPercent": 25}))
    complete(api, namespace)

    found = deployed(api, namespace, "Shared")

    assert "True" == found["status"]
    assert "gives the model 25 % of the requests (25 % are asked for); set deploy.canaryTraffic" in found["message"]
    eventually(lambda: counts(api, namespace) == (3, 1))
    stable = api.get("Deployment", namespace, "iris-predictor")
    assert stable is not None
    assert ARTIFACT["uri"] not in stable["spec"]["template"]["spec"]["initContainers"][0]["args"]
    service = api.get("InferenceService", namespace, "iris")
    assert service is not None
    assert "canaryTrafficPercent" not in service["spec"]["predictor"]

    api.patch("TrainingJob", namespace, "digits", {"spec": {"deploy": {"canaryTrafficPercent": 100}}})

    assert "True" == deployed(api, namespace, "RolledOut")["status"]
    eventually(lambda: counts(api, namespace) == (3, 0))
    stable = api.get("Deployment", namespace, "iris-predictor")
    assert stable is not None
    assert ARTIFACT["uri"] in stable["spec"]["template"]["spec"]["initContainers"][0]["args"]


def test_a_model_whose_pods_do_not_become_ready_is_not_deployed(api: Api, namespace: str) -> None:
    rolled_out_in_haste(api, namespace, followTrainings=True)
    old = names(api, namespace)
    api.create(namespace, training_job(deploy={"inferenceService": "iris"}))
    complete(api, namespace)

    eventually(lambda: crash(api, namespace, old))

    found = eventually(lambda: rolled_back(api, namespace))
    assert found is not None
    assert "False" == found["status"]
    assert "went back to what it served before" in found["message"]
    training = api.get("TrainingJob", namespace, "digits")
    assert "True" == condition(training, "Stalled")["status"]
    assert "True" == condition(training, "Complete")["status"]
    eventually(lambda: "training" not in (api.get("InferenceService", namespace, "iris") or {})["status"])


def rolled_back(api: Api, namespace: str) -> dict[str, Any] | None:
    found = condition(api.get("TrainingJob", namespace, "digits"), "Deployed")
    return found if found.get("reason") == "RolledBack" else None
