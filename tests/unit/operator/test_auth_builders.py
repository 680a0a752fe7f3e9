"""What pods are given to know their callers by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pillion.resources import InferenceService
from pillion.server.sources import load_settings
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.sidecar_service import on_sockets
from pillion_operator.state.reasons import Reason
from tests.unit.operator.test_builders import SETTINGS, SKLEARN, builtin, child, pod, runtime_file, service

if TYPE_CHECKING:
    from pillion_operator.state.plan import Desired

BOTH: dict[str, Any] = {"apiKeys": {"secretName": "iris-keys"}, "serviceAccount": {}}


def asking(auth: dict[str, Any] | None, **predictor: Any) -> InferenceService:
    manifest: dict[str, Any] = service(**(predictor or SKLEARN)).to_api()
    if auth is not None:
        manifest["spec"]["auth"] = auth
    return InferenceService.from_api(manifest)


def planned(given: InferenceService) -> Desired:
    return plan(given, "uid-1", builtin(), StorageCredentials(), SETTINGS)


def test_the_runtime_is_told_of_the_keys_and_of_the_service_whose_callers_are_reviewed() -> None:
    given = runtime_file(planned(asking(BOTH)))["settings"]

    assert {"api_keys": "/etc/pillion/api-keys", "inference_service": "iris"} == given["auth"]
    settings = load_settings(file=given, environ={}).settings
    assert ("/etc/pillion/api-keys", "iris") == (settings.auth.api_keys, settings.auth.inference_service)


@pytest.mark.parametrize(
    ("mounted", "auth"),
    [
        (set(), None),
        ({"api-keys"}, {"apiKeys": {"secretName": "iris-keys"}}),
        ({"reviewer"}, {"serviceAccount": {}}),
        ({"api-keys", "reviewer"}, BOTH),
    ],
)
def test_pods_get_what_their_callers_need_and_no_more(mounted: set[str], auth: dict[str, Any] | None) -> None:
    spec = pod(planned(asking(auth)))

    assert mounted == {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} & {"api-keys", "reviewer"}
    assert mounted == {volume["name"] for volume in spec["volumes"]} & {"api-keys", "reviewer"}
    assert spec["automountServiceAccountToken"] is False


def test_the_whole_secret_of_keys_is_mounted_so_that_a_key_can_be_added() -> None:
    volumes = {volume["name"]: volume for volume in pod(planned(asking(BOTH)))["volumes"]}

    assert {"secretName": "iris-keys"} == volumes["api-keys"]["secret"]


def test_other_containers_of_the_pod_get_neither_keys_nor_token() -> None:
    given = asking(BOTH, **SKLEARN, containers=[{"name": "beside", "image": "a:1"}])
    beside = next(one for one in pod(planned(given))["containers"] if one["name"] == "beside")

    assert "volumeMounts" not in beside


def test_who_may_ask_rolls_the_pods() -> None:
    def template(auth: dict[str, Any] | None) -> Any:
        return child(planned(asking(auth)), "Deployment")["spec"]["template"]

    assert template(None) != template({"serviceAccount": {}})


def test_what_knows_nothing_of_callers_is_not_served_openly() -> None:
    desired = planned(asking(BOTH, containers=[{"name": "kserve-container", "image": "a:1"}]))

    assert desired.problem is not None
    assert (Reason.INVALID_SPEC, "spec.auth") == (desired.problem.reason, desired.problem.location)
    assert () == desired.children


def test_a_sidecar_asks_nobody_as_only_its_pod_reaches_it() -> None:
    found = yaml.safe_load(child(planned(on_sockets(asking(BOTH))), "ConfigMap")["data"]["runtime.yaml"])

    assert "auth" not in found["settings"]
