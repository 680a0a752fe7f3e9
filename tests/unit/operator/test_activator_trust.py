"""Which slices the activator believes, and where it says that it is."""

from __future__ import annotations

from typing import Any

import pytest

from pillion_operator.activator.presence import addresses_after
from pillion_operator.activator.process import Activator
from pillion_operator.activator.settings import ActivatorSettings
from pillion_operator.activator.slices import Slices
from pillion_operator.activator.trust import distrust, is_for
from pillion_operator.state.manifest import Key, Manifest

_SERVICES = {Key("shop", "iris"): "u1"}


def of_operator(**changes: Any) -> dict[str, Any]:
    """The slice of `shop/iris` as the operator makes it, with some of its metadata or ports changed."""
    port = changes.pop("port", 20_001)
    owner = {"apiVersion": "serving.pillion.dev/v1beta1", "kind": "InferenceService", "name": "iris", "uid": "u1"}
    metadata = {
        "namespace": "shop",
        "name": "iris-predictor-activator",
        "labels": {
            "endpointslice.kubernetes.io/managed-by": "pillion",
            "kubernetes.io/service-name": "iris-predictor",
            "serving.pillion.dev/inferenceservice": "iris",
        },
        "annotations": {"serving.pillion.dev/activator": "pillion/activator"},
        "ownerReferences": [owner | {"controller": True}],
    }
    return {"metadata": metadata | changes, "ports": [{"name": "http", "port": port}]}


def test_the_operators_slices_are_believed() -> None:
    assert "" == distrust(of_operator(), _SERVICES)
    assert is_for(of_operator(), "pillion/activator")


_OWNER = of_operator()["metadata"]["ownerReferences"][0]
_LABELS = of_operator()["metadata"]["labels"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "mine"}, "not called 'iris-predictor-activator'"),
        ({"namespace": "bank"}, "no InferenceService 'iris'"),
        ({"labels": _LABELS | {"kubernetes.io/service-name": "till"}}, "is not 'iris-predictor'"),
        ({"ownerReferences": []}, "not the controller"),
        ({"ownerReferences": [_OWNER | {"uid": "u2"}]}, "not the controller"),
        ({"ownerReferences": [_OWNER | {"controller": False}]}, "not the controller"),
        ({"ownerReferences": [_OWNER | {"kind": "ConfigMap"}]}, "not the controller"),
        ({"port": 8084}, "port 8084 is not from 20000 to 29999"),
        ({"port": 30_000}, "port 30000 is not from 20000 to 29999"),
    ],
)
def test_a_slice_that_is_not_the_operators_is_not_believed(changes: dict[str, Any], why: str) -> None:
    assert why in distrust(of_operator(**changes), _SERVICES)


def test_the_slices_of_other_installations_are_theirs() -> None:
    slices = Slices("other/activator")
    slices.owners.replace("", [{"metadata": {"namespace": "shop", "name": "iris", "uid": "u1"}}])

    slices.replace("", [of_operator()])

    assert {} == slices.routes
    assert 0 == slices.distrusted


def of_former_release(address: str = "10.0.0.1", **changes: Any) -> dict[str, Any]:
    """The slice as operators wrote it that named no activator."""
    return of_operator(annotations={}, **changes) | {"endpoints": [{"addresses": [address]}]}


@pytest.mark.parametrize(
    ("left", "slice_"),
    [
        (1, of_former_release()),
        (0, of_former_release("10.0.0.9")),
        (0, of_former_release(ownerReferences=[])),
        (0, of_operator() | {"endpoints": [{"addresses": ["10.0.0.1"]}]}),
    ],
)
def test_what_a_former_release_led_to_these_replicas_is_known_until_it_is_taken_over(
    left: int, slice_: dict[str, Any]
) -> None:
    slices = Slices("pillion/activator")
    slices.owners.replace("", [{"metadata": {"namespace": "shop", "name": "iris", "uid": "u1"}}])
    slices.replace("", [slice_])

    assert left == slices.left_by_former_release(frozenset({"10.0.0.1", "10.0.0.2"}))
    assert 0 == slices.left_by_former_release(frozenset()), "once those replicas are gone nobody waits"


def test_a_replica_is_not_ready_before_slices_of_a_former_release_are_taken_over() -> None:
    connection: Any = None
    activator = Activator(ActivatorSettings(service="pillion/activator", addresses=("10.0.0.2",)), connection)
    services: Any = [{"metadata": {"namespace": "shop", "name": "iris", "uid": "u1"}}]
    activator._slices.owners.replace("", services)
    activator._slices.replace("", [of_former_release()])
    assert "the activator's other replicas are not known yet" == activator._unready()
    own: Any = {"metadata": {"namespace": "pillion", "name": "a"}, "addressType": "IPv4"}
    activator._replicas.replace("pillion", [own | {"endpoints": [{"addresses": ["10.0.0.1"]}]}])

    assert "1 EndpointSlices of a former release are still to be taken over by the operator" == activator._unready()
    activator._slices.replace("", [of_operator()])
    assert "" == activator._unready()
    # It does not wait for ever.
    activator._slices.replace("", [of_former_release()])
    assert "" != activator._unready()
    activator._began -= 121
    assert "" == activator._unready()


def test_a_replica_of_a_first_installation_waits_for_nobody() -> None:
    connection: Any = None
    activator = Activator(ActivatorSettings(service="pillion/activator", addresses=("10.0.0.2",)), connection)
    activator._slices.owners.replace("", [])
    activator._slices.replace("", [])
    activator._replicas.replace("pillion", [])

    assert "" == activator._unready()


def test_a_slice_is_believed_from_the_moment_at_which_its_service_is_known_until_it_is_gone() -> None:
    slices = Slices("pillion/activator")
    slices.owners.replace("", [])
    slices.replace("", [of_operator()])
    assert {} == slices.routes
    iris: Manifest = {"metadata": {"namespace": "shop", "name": "iris", "uid": "u1"}}

    slices.owners.apply("", "ADDED", iris)
    assert [20_001] == list(slices.routes)

    slices.owners.apply("", "DELETED", iris)
    assert {} == slices.routes


@pytest.mark.parametrize(
    ("now", "ready", "listens", "after"),
    [
        (["10.0.0.9"], ["10.0.0.1"], True, ["10.0.0.1"]),
        (["10.0.0.2"], ["10.0.0.1", "10.0.0.2"], True, ["10.0.0.1", "10.0.0.2"]),
        # Whether another listens is for it to say.
        ([], ["10.0.0.1", "10.0.0.2"], True, ["10.0.0.1"]),
        (["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.2"], False, ["10.0.0.2"]),
        # It is stopping, or not Ready yet.
        (["10.0.0.1", "10.0.0.2"], ["10.0.0.2"], True, ["10.0.0.2"]),
        # Nobody is known to be there.
        (["10.0.0.9"], [], True, ["10.0.0.9"]),
    ],
)
def test_a_replica_speaks_for_itself_and_takes_out_those_that_are_gone(
    now: list[str], ready: list[str], *, listens: bool, after: list[str]
) -> None:
    own = frozenset({"10.0.0.1", "fd00::1"})
    assert tuple(after) == addresses_after(now, own, frozenset(ready), listens=listens)
