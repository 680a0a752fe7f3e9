"""Pods get their sidecar by the real webhook: the API server asks over TLS, by the chart's own configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.operator.harness import inference_service
from tests.integration.operator.injectors import APPS, Injectors, admitted, create, pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.operator.forwarder import Forwarder
    from tests.integration.operator.harness import Api, Object, OperatorProcess


@pytest.fixture(scope="module")
def injector(
    sidecar_kubeconfig: Path, forwarder: Forwarder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    injectors = Injectors(sidecar_kubeconfig, tmp_path_factory.mktemp("injector"), forwarder)
    try:
        yield injectors.start().wait_leading()
    finally:
        injectors.stop_all()


def test_a_labelled_pod_gets_its_sidecar_over_real_tls_in_a_restricted_namespace(
    injector: OperatorProcess, api: Api
) -> None:
    process, counter = injector, "pillion_operator_sidecar_admissions_total"
    admitted(api, pod())  # Only a first one may be asked about in vain.
    known = process.metric(counter, outcome="changed")
    made = admitted(api, pod())
    steps = made["spec"]["initContainers"]
    assert [(step["name"], step.get("restartPolicy")) for step in steps] == [
        ("pillion-storage", None),
        ("pillion-runtime", "Always"),
    ]
    app = made["spec"]["containers"][0]
    assert {"name": "PILLION_URL", "value": "unix:///run/pillion-sidecar/http.sock"} in app["env"]
    assert "serving.pillion.dev/sidecar-runtime" in made["metadata"]["annotations"]
    # The API server asks again, since its own plugins change what we have changed: that is no change of ours.
    assert known + 1 == process.metric(counter, outcome="changed")

    # A pod that is made of one that was stored has its sidecar already.
    before = process.metric(counter, outcome="unchanged")
    copy = {"apiVersion": "v1", "kind": "Pod", "metadata": {**pod()["metadata"]}, "spec": made["spec"]}
    copy["metadata"]["annotations"] = made["metadata"]["annotations"]
    again = create(api, copy)
    assert again.status_code == 201, again.text
    assert [step["name"] for step in again.json()["spec"]["initContainers"]] == ["pillion-storage", "pillion-runtime"]
    assert before < process.metric(counter, outcome="unchanged")
    assert known + 1 == process.metric(counter, outcome="changed")
    assert [] == [line for line in process.lines() if "403" in line["message"]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (pod("rose"), "there is no InferenceService 'rose' in namespace 'sidecar-apps' (there are iris)"),
        (
            pod(annotations={"serving.pillion.dev/sidecar-containers": "web"}),
            "annotations[serving.pillion.dev/sidecar-containers] names 'web', which is no container of the pod",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(injector: OperatorProcess, api: Api, wrong: Object, said: str) -> None:
    admitted(api, pod())
    answer = create(api, wrong)
    assert answer.status_code == 422
    assert said in answer.json()["message"]


def test_what_the_service_says_of_its_own_pods_comes_as_a_warning(injector: OperatorProcess, api: Api) -> None:
    predictor = {"nodeSelector": {"gpu": "yes"}, "sklearn": {"storageUri": "s3://models/iris"}}
    api.create(APPS, inference_service("placed", **predictor))
    admitted(api, pod())
    answer = create(api, pod("placed"))
    assert answer.status_code == 201, answer.text
    assert "spec.predictor.nodeSelector" in answer.headers["Warning"]


def test_a_service_that_cannot_be_served_is_refused_with_its_reason(injector: OperatorProcess, api: Api) -> None:
    api.create(APPS, inference_service("odd", model={"modelFormat": {"name": "odd"}, "storageUri": "s3://models/odd"}))
    admitted(api, pod())
    answer = create(api, pod("odd"))
    assert answer.status_code == 422
    assert "the InferenceService 'odd' cannot be served" in answer.json()["message"]
