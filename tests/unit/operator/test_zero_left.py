"""Scaling to zero of a service in a namespace that is not looked after any more."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from pillion_operator.builders.serving_certificate import SERVICE_TIMES
from pillion_operator.observe.activators import ActivatorReader
from pillion_operator.observe.store import Store
from pillion_operator.reconcile.reconciler import Parts, Reconciler
from pillion_operator.reconcile.rollouts import RolloutParts, Rollouts
from pillion_operator.reconcile.scaling import Scaling
from pillion_operator.reconcile.self_signed import SelfSigned
from pillion_operator.reconcile.stages import Stages
from pillion_operator.reconcile.zero import Zero
from pillion_operator.state.kinds import ENDPOINT_SLICE, INFERENCE_SERVICE
from pillion_operator.state.manifest import Key, Manifest, array
from pillion_operator.state.names import ACTIVATOR_PORTS
from pillion_operator.state.observed import Observed
from pillion_operator.state.plan import Desired, Endpoints, ReplicaBounds

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

IRIS = Key("shop", "iris")
_NOBODY = cast("Any", None)
_SERVICE: Manifest = {"metadata": {"namespace": "shop", "name": "iris", "uid": "u1"}}


def lead(name: str, namespace: str = "shop") -> JsonObject:
    return {"metadata": {"namespace": namespace, "name": f"{name}-predictor-activator"}, "ports": [{"name": "http"}]}


def test_what_a_service_has_of_the_activator_is_given_up_when_its_namespace_is_left() -> None:
    store = Store()
    store.record(INFERENCE_SERVICE, _SERVICE)
    # Others have every port of the activator but one, so that only one more service gets any.
    others: list[JsonObject] = [{"name": f"p{number}", "port": number} for number in ACTIVATOR_PORTS[1:]]
    store.record(ENDPOINT_SLICE, lead("big", "bank") | {"ports": array(others)})
    zero = Zero(_NOBODY, store, _NOBODY, ActivatorReader(_NOBODY, _NOBODY, "pillion", "activator"), lambda: 0.0, print)
    nothing: dict[str, Any] = {field.name: _NOBODY for field in fields(Parts)}
    parts = {
        "store": store,
        "scaling": Scaling(_NOBODY, store, _NOBODY, lambda: 0.0, print),
        "zero": zero,
        "rollouts": Rollouts(RolloutParts(_NOBODY, _NOBODY, _NOBODY, Stages(_NOBODY, lambda: 0.0), _NOBODY)),
        "self_signed": SelfSigned(_NOBODY, SERVICE_TIMES, "cluster.local", enabled=True, clock=lambda: 0.0),
        "clock": lambda: 0.0,
    }
    reconciler = Reconciler(Parts(**nothing | parts))
    bounds = ReplicaBounds(1, None, to_zero_after=60.0)
    planned = Desired((), bounds, Endpoints("", ""), lead=lead("iris"))
    assert 1 == len(zero.course(Observed(_SERVICE, {}), planned).children)
    other = Observed({"metadata": {"namespace": "shop", "name": "other"}}, {})
    wanted = Desired((), bounds, Endpoints("", ""), lead=lead("other"))
    assert () == zero.course(other, wanted).children

    store.leave("shop")
    asyncio.run(reconciler.reconcile(IRIS))

    assert 1 == len(zero.course(other, wanted).children)
