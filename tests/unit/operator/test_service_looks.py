"""When a service is looked at again for what somebody else has to mend, and no watch tells of."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion_operator.reconcile.reconciler import Parts, Reconciler
from pillion_operator.state.observed import CertificateFacts, Observed, Outcome
from pillion_operator.state.plan import Desired, Endpoints, Problem, ReplicaBounds
from pillion_operator.state.reasons import Reason
from pillion_operator.state.routes import GatewayFacts

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

SECRET = Problem(Reason.SECRET_NOT_FOUND, "there is no Secret 'keys'", "spec.predictor.model")
OTHER = Problem(Reason.SECRET_NOT_FOUND, "there is no Secret 'others'", "spec.predictor.model")
CONFLICT = Problem(Reason.NAME_CONFLICT, "there is a Service of this name", "Service/iris-predictor")


PLAN = Desired((), ReplicaBounds(1, None), Endpoints("http://iris", "grpc://iris"))


class World:
    """A service, and a clock that goes on to each look."""

    def __init__(self) -> None:
        self.now = 1000.0
        nothing: dict[str, Any] = {field.name: cast("Any", None) for field in fields(Parts)}
        self.reconciler = Reconciler(Parts(**nothing | {"clock": lambda: self.now}))

    def looks(
        self, *missing: Problem, outcome: Outcome | None = None, generation: int = 1, **facts: Any
    ) -> float | None:
        metadata: JsonObject = {"namespace": "shop", "name": "iris", "uid": "u", "generation": generation}
        observed = Observed({"metadata": metadata}, {}, missing=missing, now=self.now, **facts)
        wait = self.reconciler._next_look(observed, PLAN, outcome or Outcome())
        self.now += wait or 0.0
        return None if wait is None else round(wait)


@pytest.mark.parametrize(
    "given",
    [
        {"missing": (SECRET,)},
        {"outcome": Outcome((CONFLICT,))},
        {"certificates": (CertificateFacts("cert", found=False),)},
        {"gateway": GatewayFacts(found=False)},
    ],
    ids=["secret", "conflict", "certificate", "gateway"],
)
def test_what_stays_missing_is_looked_for_ever_more_rarely(given: dict[str, Any]) -> None:
    world = World()
    missing = given.pop("missing", ())

    assert [3, 6, 12, 24, 48, 60, 60] == [world.looks(*missing, **given) for _ in range(7)]


def test_other_trouble_another_spec_and_an_end_begin_anew() -> None:
    world = World()
    assert [3, 6, 12] == [world.looks(SECRET) for _ in range(3)]
    assert [3, 6] == [world.looks(OTHER) for _ in range(2)]
    assert 3 == world.looks(OTHER, generation=2)
    assert world.looks() is None
    assert 3 == world.looks(OTHER, generation=2)
