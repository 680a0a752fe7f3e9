"""`pillion rollout` against a real API server and operator; the tests play the kubelet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.integration.operator.harness import Api, OperatorProcess, eventually
from tests.integration.operator.kubelet import make_ready
from tests.integration.operator.test_rolling_back import change, names, ready, rolled_out, states

if TYPE_CHECKING:
    from tests.integration.cli.user import User


def predictor(api: Api, user: User) -> dict[str, Any]:
    service = api.get("InferenceService", user.namespace, "iris")
    assert service is not None
    found: dict[str, Any] = service["spec"]["predictor"]
    return found


def test_a_rollout_that_failed_is_told_undone_and_over(operator: OperatorProcess, api: Api, user: User) -> None:
    rolled_out(api, user.namespace)
    ready(api, user.namespace, "Loaded")
    ready(api, user.namespace, "Settled", "Reconciling")
    done = user.types("rollout", "status", "iris")
    assert 0 == done.returncode, done.stderr
    assert "iris: arrived" in done.stdout
    change(api, user.namespace, labels={"team": "a"}, minReplicas=2)
    ready(api, user.namespace, "RolledBack")

    done = user.types("rollout", "status", "iris")
    assert 1 == done.returncode, done.stderr
    assert "iris: stalled: Revision 2 (" in done.stdout
    told = json.loads(user.types("rollout", "status", "iris", "--json").stdout)
    assert ["RolledOut", "Failed"] == [one["state"] for one in told["revisions"]]
    assert [told["serving"], told["newest"]] == [one["digest"] for one in told["revisions"]]

    done = user.types("rollout", "undo", "iris")
    assert 0 == done.returncode, done.stderr
    assert "goes back to revision 1" in done.stdout
    assert "labels" not in predictor(api, user)
    # How many pods there are belongs to no version.
    assert 2 == predictor(api, user)["minReplicas"]
    eventually(lambda: make_ready(api, user.namespace) == 2)
    ready(api, user.namespace, "Loaded")
    # What was rolled out again is the newest to go back to.
    eventually(lambda: states(api, user.namespace) == {2: "Failed", 3: "RolledOut"})

    done = user.types("rollout", "undo", "iris", "--to-revision", "9")
    assert 5 == done.returncode
    assert "there is no revision 9; kept are: 2, 3" in done.stderr


def test_what_was_mended_elsewhere_is_tried_again(operator: OperatorProcess, api: Api, user: User) -> None:
    rolled_out(api, user.namespace)
    old = names(api, user.namespace)
    change(api, user.namespace, labels={"team": "a"})
    ready(api, user.namespace, "RolledBack")
    eventually(lambda: names(api, user.namespace) == old)

    done = user.types("rollout", "resume", "iris")

    assert 0 == done.returncode, done.stderr
    assert "is tried again" in done.stdout
    eventually(lambda: make_ready(api, user.namespace) and not old & names(api, user.namespace))
    ready(api, user.namespace, "Loaded")
    eventually(lambda: states(api, user.namespace) == {1: "RolledOut", 2: "RolledOut"})


def test_pausing_keeps_a_new_version_back_until_it_is_resumed(operator: OperatorProcess, api: Api, user: User) -> None:
    rolled_out(api, user.namespace)
    old = names(api, user.namespace)

    assert 0 == user.types("rollout", "pause", "iris").returncode
    eventually(lambda: (api.get("Deployment", user.namespace, "iris-predictor") or {})["spec"].get("paused"))
    change(api, user.namespace, labels={"team": "a"})
    eventually(lambda: user.types("rollout", "status", "iris").returncode == 1)
    assert old == names(api, user.namespace)

    assert 0 == user.types("rollout", "resume", "iris").returncode
    eventually(lambda: make_ready(api, user.namespace) and not old & names(api, user.namespace))
