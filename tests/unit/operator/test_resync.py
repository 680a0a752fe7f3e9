"""The periodic list: who is told of what the watches missed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from pillion_operator.client.errors import ApiError
from pillion_operator.client.kubernetes import KubernetesClient, Listing
from pillion_operator.handlers.resync import Resync
from pillion_operator.handlers.routing import keys_for
from pillion_operator.observe.store import Store
from pillion_operator.state.kinds import MODEL, TRAINING_JOB
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
