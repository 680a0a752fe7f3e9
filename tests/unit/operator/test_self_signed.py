"""Whose certificates the operator renews: also that of pods whose version the manifest has left."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.resources import InferenceService
from pillion_operator.builders.certificates import encoded, with_certificate
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.serving_certificate import SERVICE_TIMES, next_step
from pillion_operator.observe.references import References
from pillion_operator.reconcile.self_signed import SelfSigned
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT
from pillion_operator.state.manifest import key_of
from pillion_operator.state.observed import Observed
from tests.unit.operator.test_builders import SETTINGS, SKLEARN, builtin, child, service

if TYPE_CHECKING:
    from pillion_operator.state.certificates import KeptCertificate

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
SELF_SIGNED: dict[str, Any] = {**SKLEARN, "tls": {"selfSigned": True}}
NAMED: dict[str, Any] = {**SKLEARN, "tls": {"secretName": "iris-tls"}}


class Secrets:
    """One Secret, with a certificate that is to be renewed."""

    def __init__(self, owner: str) -> None:
        began = NOW - dt.timedelta(days=80)
        first = next_step(None, "", ("iris",), SERVICE_TIMES, began)
        self.old = first and next_step(first, first.bundle, ("iris",), SERVICE_TIMES, began)
        assert self.old is not None
        owners = [{"uid": owner, "controller": True}]
        self.secret: Any = {"metadata": {"ownerReferences": owners}, "data": encoded(self.old.as_data())}
        self.written = 0

    async def get(self, *_: Any) -> Any:
        return self.secret

    async def replace(self, _: Any, manifest: Any) -> Any:
        self.secret, self.written = manifest, self.written + 1
        return manifest


def kept(
    predictor: dict[str, Any], running: dict[str, Any], secrets: Secrets, *, enabled: bool = True
) -> tuple[KeptCertificate | None, list[str]]:
    """What is kept for a manifest while pods of another version run, and which ConfigMaps are planned."""
    asked, there = (
        plan(service(**one), "uid-1", builtin(), StorageCredentials(), SETTINGS) for one in (predictor, running)
    )
    manifest: Any = service(**predictor).to_api()
    manifest["metadata"]["uid"] = "uid-1"
    parsed = InferenceService.from_api(manifest)
    live: Any = {DEPLOYMENT: {"iris-predictor": child(there, "Deployment")}}
    keeper = SelfSigned(cast("Any", secrets), SERVICE_TIMES, "cluster.local", enabled=enabled, clock=lambda: 0.0)
    observed = Observed(manifest, live, now=NOW.timestamp())
    found = asyncio.run(keeper.keep(parsed, observed, secure=asked.endpoints.secure))
    planned = with_certificate(parsed, manifest, asked, found, (), frozenset(), "cluster.local")
    assert planned.complete
    return found, [key_of(one.manifest).name for one in planned.children if one.kind is CONFIG_MAP]


@pytest.mark.parametrize(
    ("predictor", "running"), [(SKLEARN, SELF_SIGNED), (NAMED, SELF_SIGNED), (SELF_SIGNED, SKLEARN)]
)
def test_a_certificate_is_renewed_that_the_manifest_asks_for_or_that_pods_serve_with(
    predictor: dict[str, Any], running: dict[str, Any]
) -> None:
    secrets = Secrets("uid-1")

    found, configs = kept(predictor, running, secrets)

    assert found is not None
    assert found.problem is None
    assert 1 == secrets.written
    assert "iris-predictor-ca" in configs, "clients are told of a new CA by it"


#: A name that the operator would give, too.
ALIKE: dict[str, Any] = {**SKLEARN, "tls": {"secretName": "iris-predictor-tls"}}


@pytest.mark.parametrize(
    ("running", "owner"),
    [(SKLEARN, "uid-1"), (NAMED, "uid-1"), (ALIKE, "uid-1"), (SELF_SIGNED, "somebody")],
)
def test_what_nobody_serves_with_and_what_is_somebody_elses_is_left_alone(running: dict[str, Any], owner: str) -> None:
    secrets = Secrets(owner)

    _, configs = kept(SKLEARN, running, secrets)

    assert 0 == secrets.written
    assert "iris-predictor-ca" not in configs


def test_what_keeps_it_from_being_renewed_is_told_and_stops_no_pods() -> None:
    found, _ = kept(SKLEARN, SELF_SIGNED, Secrets("uid-1"), enabled=False)

    (problem,) = References().with_kept(found).missing
    assert "pods serve with a certificate of tls.selfSigned, and this operator writes no Secrets" == problem.text
