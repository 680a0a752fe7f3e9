from __future__ import annotations

from typing import Any

from pillion_operator.handlers.routing import keys_for
from pillion_operator.observe.store import Store
from pillion_operator.state.kinds import CHILDREN, DEPLOYMENT, INFERENCE_SERVICE, POD, SERVING_RUNTIME
from pillion_operator.state.manifest import Key

KEY = Key("ns", "iris-predictor")
OWNER = Key("ns", "iris")


def manifest(version: int, *, uid: str = "1", owner: str = "iris", controller: str = "o") -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "ns",
            "name": "iris-predictor",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {"serving.pillion.dev/inferenceservice": owner} if owner else {},
            "ownerReferences": [{"controller": True, "uid": controller}],
        },
        "spec": {"version": version},
    }


def service(uid: str = "o") -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": "iris", "uid": uid, "resourceVersion": "1"}}


def test_an_older_version_never_replaces_a_newer_one() -> None:
    store = Store()
    assert store.record(DEPLOYMENT, manifest(10))

    assert not store.record(DEPLOYMENT, manifest(9))
    assert {"version": 10} == (store.get(DEPLOYMENT, KEY) or {})["spec"]


def test_what_was_deleted_does_not_come_back_under_its_uid() -> None:
    store = Store()
    store.record(DEPLOYMENT, manifest(10))
    store.forget(DEPLOYMENT, KEY, "1")

    assert not store.record(DEPLOYMENT, manifest(11))
    assert store.record(DEPLOYMENT, manifest(12, uid="2"))


def test_a_deletion_of_a_former_object_leaves_its_successor() -> None:
    store = Store()
    store.record(DEPLOYMENT, manifest(12, uid="2"))

    assert store.forget(DEPLOYMENT, KEY, "1") is None
    assert store.get(DEPLOYMENT, KEY) is not None


def test_children_are_found_by_label_and_by_the_uid_that_controls_them() -> None:
    store = Store()
    store.record(DEPLOYMENT, manifest(1))

    assert ["iris-predictor"] == list(store.children(service(), CHILDREN)[DEPLOYMENT])
    assert [] == list(store.children(service("another"), CHILDREN)[DEPLOYMENT])


def test_a_child_that_lost_its_label_is_no_longer_owned() -> None:
    store = Store()
    store.record(DEPLOYMENT, manifest(1))

    store.record(DEPLOYMENT, manifest(2, owner=""))

    assert [] == store.owned(DEPLOYMENT, OWNER)


def test_of_pods_only_what_is_read_is_kept() -> None:
    store = Store()
    pod = manifest(1) | {"spec": {"nodeName": "n", "containers": [{"name": "runtime"}]}}
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]

    store.record(POD, pod)

    kept: dict[str, Any] = store.get(POD, KEY) or {}
    assert {"nodeName": "n"} == kept["spec"]
    assert "managedFields" not in kept["metadata"]


def test_a_change_of_a_child_bears_on_its_owner() -> None:
    assert [OWNER] == list(keys_for(DEPLOYMENT, manifest(1), Store()))


def test_a_change_of_a_runtime_bears_on_the_services_of_its_namespace() -> None:
    store = Store()
    store.record(INFERENCE_SERVICE, service())
    runtime: dict[str, Any] = {"metadata": {"namespace": "ns", "name": "mine"}}
    elsewhere: dict[str, Any] = {"metadata": {"namespace": "elsewhere", "name": "mine"}}

    assert [OWNER] == list(keys_for(SERVING_RUNTIME, runtime, store))
    assert [] == list(keys_for(SERVING_RUNTIME, elsewhere, store))


def test_what_is_derived_of_an_object_is_made_once_for_each_version() -> None:
    store, asked = Store(), list[str]()

    def version(found: Any) -> str:
        asked.append(found["metadata"]["resourceVersion"])
        return f"v{asked[-1]}"

    for number in (1, 1, 2):
        store.record(DEPLOYMENT, manifest(number))
        assert [(store.get(DEPLOYMENT, KEY), f"v{number}")] == store.derived(DEPLOYMENT, version)
    store.forget(DEPLOYMENT, KEY)

    assert [] == store.derived(DEPLOYMENT, version)
    assert ["1", "2"] == asked
