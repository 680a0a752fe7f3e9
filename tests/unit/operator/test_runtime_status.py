"""What a serving runtime's status says."""

from __future__ import annotations

from typing import Any

import pytest

from pillion.resources import ServingRuntime, ServingRuntimeSpec
from pillion.resources.honoured_runtime import unhonoured_runtime_fields
from pillion_operator.judge.runtime import runtime_status, runtime_verdicts

CONTAINERS: list[Any] = [{"name": "runtime", "image": "x"}]


def runtime(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "ServingRuntime",
        "metadata": {"name": "mine", "namespace": "ns", "generation": 3},
        "spec": {"containers": CONTAINERS, **spec},
    }


def shown(manifest: dict[str, Any]) -> dict[str, str]:
    return {verdict.type: f"{verdict.status} {verdict.reason}" for verdict in runtime_verdicts(manifest)}


@pytest.mark.parametrize(
    ("ready", "stalled", "spec"),
    [
        ("True Usable", "False Settled", {"supportedModelFormats": [{"name": "own"}]}),
        ("True Disabled", "False Settled", {"disabled": True}),
        ("False InvalidSpec", "True InvalidSpec", {"containers": "none"}),
    ],
)
def test_a_runtime_is_usable_or_out_of_use_or_wrong(ready: str, stalled: str, spec: dict[str, Any]) -> None:
    found = shown(runtime(**spec))

    assert (ready, "False Settled", stalled) == (found["Ready"], found["Reconciling"], found["Stalled"])


def test_the_status_is_valid_for_the_schema_and_speaks_of_the_generation() -> None:
    manifest = runtime()

    status = runtime_status(manifest, "2027-01-15T08:00:00Z")

    assert 3 == status["observedGeneration"]
    assert ServingRuntime.from_manifest({**manifest, "status": status}).status is not None


def test_what_is_wrong_is_named_with_its_field() -> None:
    message = runtime_verdicts(runtime(containers="none"))[0].message

    assert message.startswith("spec.containers: ")
    assert "no service can use the runtime" in message


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"multiModel": False, "storageHelper": {"disabled": False}}, []),
        ({"grpcEndpoint": "port:1", "replicas": 2}, ["spec.grpcEndpoint", "spec.replicas"]),
        ({"storageHelper": {"disabled": True}}, ["spec.storageHelper"]),
        ({"multiModel": True}, ["spec.multiModel"]),
    ],
)
def test_fields_without_effect_are_named_and_those_that_ask_for_nothing_are_not(
    spec: dict[str, Any], named: list[str]
) -> None:
    found = unhonoured_runtime_fields(ServingRuntimeSpec.from_manifest({"containers": CONTAINERS, **spec}))

    assert named == [field.field for field in found]
