"""The periodic list: who is told of what the watches missed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion_operator.client.errors import ApiError
from pillion_operator.client.kubernetes import KubernetesClient, Listing
from pillion_operator.handlers.caches import Caches
from pillion_operator.handlers.resync import Resync
from pillion_operator.handlers.routing import keys_for
from pillion_operator.observe.store import Store
from pillion_operator.settings import OperatorSettings
from pillion_operator.state.kinds import HTTP_ROUTE, INFERENCE_SERVICE, LABELLED, MODEL, OPTIONAL, TRAINING_JOB
from pillion_operator.state.manifest import Key

if TYPE_CHECKING:
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest


class Lists:
    """An API server that has one TrainingJob."""

    def __init__(self, training: Manifest) -> None:
        self._training = training

    async def list(self, *_: Any, **__: Any) -> Listing:
        return Listing((self._training,), "9")

    async def get(self, *_: Any) -> Manifest:
        return self._training


def training(version: str, **spec: Any) -> Manifest:
    metadata: Manifest = {"namespace": "shop", "name": "digits", "uid": "u", "resourceVersion": version}
    return {"metadata": metadata, "spec": spec}


def test_a_service_that_a_training_has_let_go_of_unseen_is_looked_at() -> None:
    for method in ("fill", "correct"):
        store = Store()
        store.record(TRAINING_JOB, training("1", deploy={"inferenceService": "digits"}))
        looked_at: set[Key] = set()

        def changed(kind: Kind, manifest: Manifest, store: Store = store, found: set[Key] = looked_at) -> None:
            found.update(keys_for(kind, manifest, store))

        client = cast("KubernetesClient", Lists(training("2")))
        asyncio.run(getattr(Resync(client, store, lambda: (TRAINING_JOB,), (), changed), method)())

        assert {Key("shop", "digits")} == looked_at


class Refusing(Lists):
    """The same, and it lets nobody list Models."""

    async def list(self, kind: Kind, *_: Any, **__: Any) -> Listing:
        if kind is MODEL:
            raise ApiError(403, "Forbidden", 'cannot list resource "models"')
        return await super().list(kind)


def test_a_kind_that_may_not_be_listed_keeps_no_other_from_being_listed() -> None:
    for method in ("fill", "correct"):
        store = Store()
        client = cast("KubernetesClient", Refusing(training("2")))
        resync = Resync(client, store, lambda: (MODEL, TRAINING_JOB), (), lambda *_: None)
        asyncio.run(getattr(resync, method)())

        assert {(MODEL, "")} == resync.refused.keys()
        assert store.get(TRAINING_JOB, Key("shop", "digits")) is not None


class Broken(Lists):
    """The same, and what serves one kind is down."""

    def __init__(self, broken: Kind, status: int) -> None:
        super().__init__(training("2"))
        self._broken, self._status = broken, status

    async def list(self, kind: Kind, *_: Any, **__: Any) -> Listing:
        if kind is self._broken:
            raise ApiError(self._status, "ServiceUnavailable", "error trying to reach service")
        return await super().list(kind)


@pytest.mark.parametrize("method", ["fill", "correct"])
@pytest.mark.parametrize("status", [503, 500, 404, 0])
def test_an_optional_kind_that_does_not_answer_keeps_no_other_from_being_listed(method: str, status: int) -> None:
    store = Store()
    kinds = (HTTP_ROUTE, TRAINING_JOB)
    resync = Resync(cast("KubernetesClient", Broken(HTTP_ROUTE, status)), store, lambda: kinds, (), lambda *_: None)

    asyncio.run(getattr(resync, method)())

    assert [HTTP_ROUTE] == list(resync.unanswered)
    assert store.get(TRAINING_JOB, Key("shop", "digits")) is not None


@pytest.mark.parametrize(("kind", "status"), [(TRAINING_JOB, 503), (HTTP_ROUTE, 429)])
def test_what_every_cluster_has_and_an_api_server_that_is_busy_are_asked_again(kind: Kind, status: int) -> None:
    client = cast("KubernetesClient", Broken(kind, status))
    resync = Resync(client, Store(), lambda: (kind,), (), lambda *_: None)

    with pytest.raises(ApiError):
        asyncio.run(resync.fill())
    with pytest.raises(ApiError):
        asyncio.run(resync.correct())


class Everything(Lists):
    """An API server that has one object of each kind."""

    async def list(self, kind: Kind, *_: Any, **__: Any) -> Listing:
        return Listing((self.one(kind),), "9")

    async def get(self, kind: Any, *_: Any) -> Manifest:
        return self.one(kind)

    @staticmethod
    def one(kind: Kind) -> Manifest:
        metadata: Manifest = {"namespace": "shop", "name": kind.plural, "uid": kind.plural, "resourceVersion": "3"}
        return {"metadata": metadata}


def test_a_watch_that_delivers_nothing_is_found_out_whatever_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pillion_operator.handlers.resync._DELIVERY_SECONDS", 0.0)
    nobody = cast("Any", None)
    caches = Caches(nobody, Store(), OperatorSettings(), nobody, nobody, nobody)
    caches.optional = frozenset(OPTIONAL)
    kinds = caches._kinds()
    store = Store()

    client = cast("KubernetesClient", Everything(training("2")))
    missed = asyncio.run(Resync(client, store, lambda: kinds, (), lambda *_: None).correct())

    assert dict.fromkeys(kinds, 1) == missed
    assert {INFERENCE_SERVICE, *LABELLED} <= set(kinds)
