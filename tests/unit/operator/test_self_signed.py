"""Whose certificates the operator renews: also that of pods whose version the manifest has left."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.resources import InferenceService
from pillion_operator.builders.certificates import encoded, texts_of, with_certificate
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.serving_certificate import SERVICE_TIMES, next_step, of_secret
from pillion_operator.observe.references import References
from pillion_operator.observe.store import Store
from pillion_operator.reconcile.reconciler import Parts, Reconciler
from pillion_operator.reconcile.self_signed import SelfSigned
from pillion_operator.state.certificates import KeptCertificate
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT, INFERENCE_SERVICE
from pillion_operator.state.manifest import key_of, text_at
from pillion_operator.state.observed import Observed
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason
from tests.unit.operator.test_builders import SETTINGS, SKLEARN, builtin, child, service

if TYPE_CHECKING:
    from pillion_operator.state.plan import Desired

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
SELF_SIGNED: dict[str, Any] = {**SKLEARN, "tls": {"selfSigned": True}}
NAMED: dict[str, Any] = {**SKLEARN, "tls": {"secretName": "iris-tls"}}


class Secrets:
    """One Secret, with a certificate that is to be renewed."""

    def __init__(self, owner: str, *names: str) -> None:
        began = NOW - dt.timedelta(days=80)
        first = next_step(None, "", names or ("iris",), SERVICE_TIMES, began)
        self.old = first and next_step(first, first.bundle, names or ("iris",), SERVICE_TIMES, began)
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


class Answers:
    """Takes whatever is written."""

    def __init__(self) -> None:
        self.planned: list[Desired] = []

    async def put(self, _: Any, desired: Desired) -> None:
        self.planned.append(desired)

    async def write(self, *_: Any) -> None: ...

    async def post(self, *_: Any) -> None: ...


@pytest.mark.parametrize("running", [SELF_SIGNED, SKLEARN])
def test_pods_of_a_manifest_that_cannot_be_read_any_more_keep_a_certificate_that_is_good(
    running: dict[str, Any],
) -> None:
    nobody, secrets, answers, store = cast("Any", None), Secrets("uid-1", "iris", "of.example.com"), Answers(), Store()
    stored: Any = service(**SELF_SIGNED).to_api()
    stored["metadata"] |= {"uid": "uid-1", "resourceVersion": "1"}
    stored["spec"]["predictor"] = {"tls": "what a release before took"}
    live: Any = child(plan(service(**running), "uid-1", builtin(), StorageCredentials(), SETTINGS), "Deployment")
    live["metadata"] |= {"uid": "uid-2", "resourceVersion": "1"}
    live["metadata"]["ownerReferences"][0] |= {"uid": "uid-1"}
    store.record(INFERENCE_SERVICE, stored)
    store.record(DEPLOYMENT, live)
    given: dict[str, Any] = {field.name: nobody for field in fields(Parts)} | {
        "store": store,
        "applier": answers,
        "status": answers,
        "events": answers,
        "clock": lambda: 0.0,
        "wall_clock": NOW.timestamp,
        "self_signed": SelfSigned(
            cast("Any", secrets), SERVICE_TIMES, "cluster.local", enabled=True, clock=lambda: 0.0
        ),
    }

    wait = asyncio.run(Reconciler(Parts(**given)).reconcile(key_of(stored)))

    if running is SKLEARN:
        assert (None, 0, []) == (wait, secrets.written, answers.planned)
        return
    assert wait
    assert 1 == secrets.written
    new = of_secret(texts_of(secrets.secret))
    assert new is not None
    assert {"iris", "of.example.com", "iris-predictor.ns.svc"} < set(new.names), "no name is lost that it had"
    ((config,),) = (one.children for one in answers.planned)
    assert new.bundle == text_at(config.manifest, "data", "ca.crt")
    (owner,) = cast("Any", config.manifest["metadata"])["ownerReferences"]
    assert ("iris", "uid-1") == (owner["name"], owner["uid"])


def test_who_asks_pods_of_a_manifest_that_cannot_be_planned_learns_of_a_new_ca() -> None:
    lost = InferenceService.from_api(service(**SELF_SIGNED).to_api())
    desired = plan(lost, "uid-1", builtin(), StorageCredentials(), SETTINGS)
    problem = Problem(Reason.UNTRUSTED_CODE, "a class")
    planned = with_certificate(
        lost,
        lost.to_api(),
        replace(desired, children=(), problem=problem),
        KeptCertificate(60.0, "the CAs"),
        (),
        frozenset(),
        "cluster.local",
    )

    assert ["iris-predictor-ca"] == [key_of(one.manifest).name for one in planned.children]
    assert problem == planned.problem
