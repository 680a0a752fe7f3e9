"""Namespaces that come to be looked after, and go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from pillion_operator.handlers.caches import Caches
from pillion_operator.handlers.scope import NamespaceScope
from pillion_operator.metrics import OperatorMetrics
from pillion_operator.observe.store import Store
from pillion_operator.process import Operator
from pillion_operator.settings import OperatorSettings
from pillion_operator.state.kinds import BATCH_PREDICTION, INFERENCE_SERVICE, NAMESPACE, TRAINING_JOB
from pillion_operator.state.manifest import key_of

if TYPE_CHECKING:
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest


def namespace(name: str) -> Manifest:
    return {"metadata": {"name": name}}


def test_without_a_selector_every_namespace_is_looked_after() -> None:
    assert NamespaceScope("", print).includes("anywhere")


def test_a_namespace_is_looked_after_from_its_label_to_its_end_and_listed_once_for_each_coming() -> None:
    async def story() -> None:
        left: list[str] = []
        scope = NamespaceScope("tenant=shop", left.append)
        assert not scope.includes("shop")
        assert scope.includes("")

        scope.take(namespace("shop"), gone=False)
        scope.take(namespace("shop"), gone=False)
        assert scope.includes("shop")
        assert {"shop"} == await scope.joined()

        scope.take(namespace("shop"), gone=True)
        scope.take(namespace("shop"), gone=True)
        assert not scope.includes("shop")
        assert ["shop"] == left

        scope.take(namespace("shop"), gone=False)
        assert {"shop"} == await scope.joined()

    asyncio.run(story())


def test_one_that_goes_before_it_is_listed_is_not_listed() -> None:
    async def story() -> None:
        scope = NamespaceScope("tenant=shop", lambda _: None)
        scope.take(namespace("shop"), gone=False)
        scope.take(namespace("shop"), gone=True)

        assert set() == await scope.joined()

    asyncio.run(story())


def test_names_and_labels_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="two ways to say the same"):
        OperatorSettings(namespaces=("a",), namespace_selector="tenant=shop")


def test_what_was_followed_in_a_namespace_that_goes_is_told_once_it_is_forgotten() -> None:
    store = Store()
    told: list[tuple[Kind, str]] = []

    def changed(kind: Kind, manifest: Manifest) -> None:
        assert store.get(kind, key_of(manifest)) is None
        told.append((kind, key_of(manifest).name))

    settings = OperatorSettings(namespace_selector="tenant=shop")
    caches = Caches(cast("Any", None), store, settings, OperatorMetrics(CollectorRegistry()), changed, lambda: None)
    caches._deliver(NAMESPACE, "ADDED", namespace("shop"))
    for kind, name in ((INFERENCE_SERVICE, "iris"), (TRAINING_JOB, "digits"), (BATCH_PREDICTION, "night")):
        metadata: Manifest = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"}
        store.record(kind, {"metadata": metadata})

    caches._deliver(NAMESPACE, "DELETED", namespace("shop"))

    assert [(INFERENCE_SERVICE, "iris"), (TRAINING_JOB, "digits"), (BATCH_PREDICTION, "night")] == told


def test_a_status_that_was_on_its_way_does_not_bring_back_what_is_not_looked_after() -> None:
    operator = Operator(OperatorSettings(namespace_selector="tenant=shop"), cast("Any", None))
    metadata: Manifest = {"name": "iris", "namespace": "shop", "uid": "u", "resourceVersion": "2"}

    operator._status_written(INFERENCE_SERVICE, {"metadata": metadata})

    assert [] == operator._store.keys(INFERENCE_SERVICE)
