"""Kinds that come to a cluster: taken up once they are listed, and no trouble for the others where they cannot be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import CollectorRegistry

from pillion_operator.client.errors import ApiError
from pillion_operator.handlers.caches import Caches
from pillion_operator.metrics import OperatorMetrics
from pillion_operator.observe.store import Store
from pillion_operator.settings import OperatorSettings
from pillion_operator.state.kinds import CERTIFICATE, HTTP_ROUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion_operator.state.kinds import Kind


class Cluster:
    """Has Certificates and HTTPRoutes, and answers lists of some kinds with an error."""

    def __init__(self, broken: Kind, status: int) -> None:
        self._broken, self._status = broken, status

    async def discover(self, api_version: str) -> set[str]:
        return {kind.plural for kind in (CERTIFICATE, HTTP_ROUTE) if kind.api_version == api_version}

    async def fill(self, *, kinds: Sequence[Kind]) -> None:
        if self._broken in kinds:
            raise ApiError(self._status, "Broken", "conversion webhook failed")


@pytest.mark.parametrize(("status", "at_once"), [(404, True), (500, False), (0, False)])
def test_a_kind_that_cannot_be_listed_keeps_no_other_away_and_restarts_nothing(status: int, at_once: bool) -> None:  # noqa: FBT001 - a case
    changes: list[None] = []
    settings = OperatorSettings(resync_seconds=60.0)
    nobody = cast("Any", None)
    metrics = OperatorMetrics(CollectorRegistry())
    caches = Caches(nobody, Store(), settings, metrics, nobody, lambda: changes.append(None))
    cluster = cast("Any", Cluster(CERTIFICATE, status))

    async def rounds() -> None:
        for _ in range(3):
            await caches._follow_optional_kinds(cluster, cluster)

    asyncio.run(rounds())

    assert frozenset({HTTP_ROUTE}) == caches.optional
    # Only what has come is looked at anew, and once.
    assert 1 == len(changes)
    assert at_once == caches._listed.is_set()
