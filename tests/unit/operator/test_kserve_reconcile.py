"""KServe mode's reconcile against an API of its own: what is written, and what is left alone."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion_operator.client.errors import ApiError
from pillion_operator.observe.kserve_controller import KServeController
from pillion_operator.observe.store import Store
from pillion_operator.reconcile.kserve import KServeParts, KServeReconciler
from pillion_operator.report.status import StatusWriter
from pillion_operator.state.kinds import INFERENCE_SERVICE, KSERVE_INFERENCE_SERVICE, Kind
from pillion_operator.state.kserve import KServeScope
from pillion_operator.state.manifest import Key

if TYPE_CHECKING:
    from pillion_operator.report.events import Happening

Object = dict[str, Any]
KEY = Key("shop", "iris")
MANAGED = "serving.pillion.dev/managed"


def merged(before: Any, patch: Any) -> Any:
    """What a merge patch makes of a value. Source: RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    known = before if isinstance(before, dict) else {}
    after = {**known, **{name: merged(known.get(name), value) for name, value in patch.items()}}
    return {name: value for name, value in after.items() if value is not None}


class Cluster:
    """KServe's object, ours, and an API server that keeps them; `asked` has the writes."""

    def __init__(self, **metadata: Any) -> None:
        self.store = Store()
        self.asked: list[str] = []
        self.events: list[str] = []
        self.webhook = False
        self.refusal: ApiError | None = None
        self.adds: Object = {}
        self.insists = False
        self.live: dict[Kind, Object] = {}
        self._version = 1
        model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris.skops"}
        self.put(
            KSERVE_INFERENCE_SERVICE,
            {
                "apiVersion": "serving.kserve.io/v1beta1",
                "kind": "InferenceService",
                "metadata": {"namespace": "shop", "name": "iris", "uid": "u-1", "generation": 1, **metadata},
                "spec": {"predictor": {"model": model}},
            },
        )
        client: Any = self
        self.clock = 0.0
        self.reconciler = KServeReconciler(
            KServeParts(
                client,
                self.store,
                KServeController(client, lambda: self.clock),
                StatusWriter(client, lambda kind, manifest: self.put(kind, cast("Object", manifest))),
                client,
                KServeScope.ALL,
                lambda: 0.0,
            )
        )

    def put(self, kind: Kind, manifest: Object) -> Object:
        """Store it, and let the watch deliver it."""
        self._version += 1
        stored = copy.deepcopy(manifest)
        stored["metadata"] |= {"resourceVersion": str(self._version)}
        stored["metadata"].setdefault("uid", f"u-{self._version}")
        self.live[kind] = stored
        self.store.record(kind, stored)
        return stored

    def change(self, kind: Kind, **metadata: Any) -> None:
        found = self.live[kind]
        self.put(kind, {**found, "metadata": {**found["metadata"], **metadata}})

    async def get(self, kind: Kind, key: Key, **_: Any) -> Object | None:
        if kind.plural == "validatingwebhookconfigurations":
            self.asked.append("webhook")
            return {} if self.webhook else None
        return self.live.get(kind)

    async def apply(self, kind: Kind, manifest: Object, **_: Any) -> Object:
        self.asked.append("apply")
        if self.refusal is not None:
            raise self.refusal
        before = self.live.get(kind, {"metadata": {}})
        if manifest["metadata"].get("uid", before["metadata"].get("uid")) != before["metadata"].get("uid"):
            raise ApiError(422, "Invalid", "field is immutable", fields=("metadata.uid",))
        generation = before["metadata"].get("generation", 0) + 1
        metadata = {**before["metadata"], **manifest["metadata"], "generation": generation}
        return self.put(kind, {**manifest, "spec": {**manifest["spec"], **self.adds}, "metadata": metadata})

    async def replace(self, kind: Kind, manifest: Object) -> Object:
        self.asked.append("replace")
        return self.put(kind, {**manifest, "spec": {**manifest["spec"], **(self.adds if self.insists else {})}})

    async def merge(self, kind: Kind, _: Key, patch: Object, **__: Any) -> Object:
        self.asked.append("status")
        return {**self.live[kind], "status": merged(self.live[kind].get("status", {}), patch["status"])}

    async def delete(self, kind: Kind, key: Key, *, uid: str) -> None:
        assert uid == self.live[kind]["metadata"]["uid"]
        self.asked.append("delete")
        self.store.forget(kind, key, uid)
        del self.live[kind]

    async def post(self, _: Object, happening: Happening) -> None:
        self.events.append(happening.reason)

    def look(self) -> float | None:
        """Reconcile once; the writes are those of this look."""
        self.asked.clear()
        return asyncio.run(self.reconciler.reconcile(KEY))

    @property
    def writes(self) -> list[str]:
        return [verb for verb in self.asked if verb != "webhook"]

    def ready(self) -> Object:
        conditions = self.live[KSERVE_INFERENCE_SERVICE]["status"]["conditions"]
        found: Object = next(one for one in conditions if one["type"] == "Ready")
        return found


def test_an_object_gets_a_child_and_a_status_and_then_nothing_is_written() -> None:
    cluster = Cluster()

    assert None is cluster.look()
    assert ["apply", "status"] == cluster.writes
    assert "Unknown" == cluster.ready()["status"]
    cluster.look()

    assert [] == cluster.writes


def test_the_childs_word_is_passed_on_once_it_is_about_the_newest_generation() -> None:
    cluster = Cluster()
    cluster.look()
    ready = [{"type": "Ready", "status": "True", "reason": "Loaded", "message": "x"}]

    child = cluster.live[INFERENCE_SERVICE]
    cluster.put(INFERENCE_SERVICE, {**child, "status": {"observedGeneration": 0, "conditions": ready}})
    cluster.look()
    assert ([], "Unknown") == (cluster.writes, cluster.ready()["status"])
    cluster.put(INFERENCE_SERVICE, {**child, "status": {"observedGeneration": 1, "conditions": ready}})
    cluster.look()

    assert (["status"], "True") == (cluster.writes, cluster.ready()["status"])
    assert ["Loaded"] == cluster.events


def test_what_an_apply_leaves_of_others_is_replaced() -> None:
    cluster = Cluster()
    cluster.adds = {"suspend": True}

    cluster.look()

    assert ["apply", "replace", "status"] == cluster.writes
    assert {"predictor"} == set(cluster.live[INFERENCE_SERVICE]["spec"])


def test_what_is_changed_with_every_write_is_not_written_again_and_again_but_named() -> None:
    cluster = Cluster()
    cluster.adds, cluster.insists = {"suspend": True}, True

    cluster.look()
    assert ["apply", "replace", "status"] == cluster.writes
    conditions = cluster.live[KSERVE_INFERENCE_SERVICE]["status"]["conditions"]
    assert ["spec: something in the cluster"] == [c["message"][:30] for c in conditions if c["type"] == "FieldsIgnored"]
    cluster.look()
    assert [] == cluster.writes

    child = cluster.live[INFERENCE_SERVICE]
    cluster.put(INFERENCE_SERVICE, {**child, "spec": {**child["spec"], "suspend": False}})
    cluster.insists = False
    cluster.look()
    assert ["apply", "replace"] == cluster.writes[:2], "another change is undone"
    assert {"predictor"} == set(cluster.live[INFERENCE_SERVICE]["spec"])

    ready = [{"type": "Ready", "status": "True", "reason": "Loaded", "message": "x"}]
    child = cluster.live[INFERENCE_SERVICE]
    status = {"observedGeneration": child["metadata"]["generation"], "conditions": ready}
    cluster.put(INFERENCE_SERVICE, {**child, "status": status})
    cluster.look()
    conditions = cluster.live[KSERVE_INFERENCE_SERVICE]["status"]["conditions"]
    assert "FieldsIgnored" not in [c["type"] for c in conditions]


def test_an_object_of_somebody_else_is_not_touched_and_named() -> None:
    cluster = Cluster()
    cluster.put(INFERENCE_SERVICE, {"metadata": {"namespace": "shop", "name": "iris"}, "spec": {}})

    assert None is cluster.look()

    assert ["status"] == cluster.writes
    assert ("False", "NameConflict") == (cluster.ready()["status"], cluster.ready()["reason"])


def test_an_object_that_took_the_place_of_the_one_that_is_known_is_not_written_over() -> None:
    cluster = Cluster()
    cluster.look()
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/newer.skops"}
    cluster.put(
        KSERVE_INFERENCE_SERVICE, {**cluster.live[KSERVE_INFERENCE_SERVICE], "spec": {"predictor": {"model": model}}}
    )
    somebodys = {"metadata": {"namespace": "shop", "name": "iris", "uid": "u-9"}, "spec": {}}
    cluster.live[INFERENCE_SERVICE] = somebodys

    with pytest.raises(ApiError):
        cluster.look()

    assert (["apply"], somebodys) == (cluster.writes, cluster.live[INFERENCE_SERVICE])


def test_what_stood_for_a_former_object_of_the_name_goes_first() -> None:
    cluster = Cluster()
    cluster.look()
    cluster.change(KSERVE_INFERENCE_SERVICE, uid="u-2")

    with pytest.raises(ApiError):
        cluster.look()

    assert ["delete"] == cluster.writes
    cluster.look()
    (owner,) = cluster.live[INFERENCE_SERVICE]["metadata"]["ownerReferences"]
    assert "u-2" == owner["uid"]


@pytest.mark.parametrize(
    ("status", "reason", "transition"), [(403, "Forbidden", "InProgress"), (422, "Refused", "InvalidSpec")]
)
def test_a_refusal_of_the_api_server_is_passed_on_and_tried_again(status: int, reason: str, transition: str) -> None:
    cluster = Cluster()
    cluster.refusal = ApiError(status, "No", "the server's words")

    assert cluster.look()

    assert reason == cluster.ready()["reason"]
    assert "the server's words" in cluster.ready()["message"]
    told = cluster.live[KSERVE_INFERENCE_SERVICE]["status"]["modelStatus"]
    assert transition == told["transitionStatus"]


def test_an_answer_that_may_be_another_soon_is_raised_for_another_try() -> None:
    cluster = Cluster()
    cluster.refusal = ApiError(503, "Unavailable", "later")

    with pytest.raises(ApiError):
        cluster.look()


def test_what_is_not_chosen_any_more_loses_its_child_and_keeps_its_status() -> None:
    cluster = Cluster()
    cluster.look()
    cluster.change(KSERVE_INFERENCE_SERVICE, labels={MANAGED: "false"})

    cluster.clock = 11.0
    assert None is cluster.look()

    assert (["delete"], []) == (cluster.asked, cluster.events), "nor is KServe's controller asked for"


def test_kserves_controller_bars_what_it_may_work_on_and_is_asked_for_once_in_a_while() -> None:
    cluster = Cluster()
    cluster.webhook = True

    assert cluster.look()
    assert ([], ["LeftToKServe"]) == (cluster.writes, cluster.events)
    assert cluster.look()
    assert ([], ["LeftToKServe"]) == (cluster.asked, cluster.events), "nothing is asked or said again at once"

    cluster.webhook, cluster.clock = False, 11.0
    assert None is cluster.look()
    assert ["apply", "status"] == cluster.writes


def test_what_kserves_controller_took_loses_its_child() -> None:
    cluster = Cluster()
    cluster.look()
    cluster.change(KSERVE_INFERENCE_SERVICE, finalizers=["inferenceservice.finalizers"])

    assert cluster.look()

    assert (["delete"], ["LeftToKServe"]) == (cluster.writes, cluster.events)


def test_an_object_on_its_way_out_is_left_to_the_garbage_collector() -> None:
    cluster = Cluster(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/held"])

    assert None is cluster.look()
    assert [] == cluster.asked
