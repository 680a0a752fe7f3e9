"""What a refusal of the API server comes to where it says more than that the manifest is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from pillion_operator.apply.children import refused
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import DEPLOYMENT, HTTP_ROUTE, Kind
from pillion_operator.state.plan import Child

UNDECLARED = "failed to create typed patch object (ns/iris): .spec.rules[0].timeouts: field not declared in schema"


@pytest.mark.parametrize(
    ("kind", "message", "told"),
    [(HTTP_ROUTE, UNDECLARED, True), (HTTP_ROUTE, "spec.hostnames: too long", False), (DEPLOYMENT, UNDECLARED, False)],
)
def test_a_route_that_an_older_gateway_api_refuses_has_its_remedy(kind: Kind, message: str, *, told: bool) -> None:
    manifest: Any = {"metadata": {"name": "iris-predictor", "namespace": "ns"}}

    problem = refused(Child(kind, manifest), ApiError(500, "InternalError", message))

    assert message in problem.text
    assert told == ("Gateway API 1.2 or newer" in problem.sentence)
    assert not problem.transient
