"""Replicas of the sidecar webhook come and go, and their CA is rotated, while pods are being made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.operator.injectors import HOME, Creations, Injectors, admitted, bundle, create, pod
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.operator.forwarder import Forwarder
    from tests.integration.operator.harness import Api


@pytest.fixture
def injectors(sidecar_kubeconfig: Path, forwarder: Forwarder, tmp_path: Path) -> Iterator[Injectors]:
    made = Injectors(sidecar_kubeconfig, tmp_path, forwarder)
    yield made
    made.stop_all()


def test_the_second_replica_answers_too_and_both_serve_one_certificate(
    injectors: Injectors, forwarder: Forwarder, api: Api
) -> None:
    first = injectors.start().wait_leading()
    second = injectors.start()
    admitted(api, pod())
    assert [0, 1] == [process.metric("pillion_operator_leader") for process in (second, first)]
    injectors.stop(first)
    before = second.metric("pillion_operator_sidecar_admissions_total", outcome="changed")
    admitted(api, pod())
    assert second.metric("pillion_operator_sidecar_admissions_total", outcome="changed") == before + 1


def test_an_operator_that_is_gone_harms_nobody_without_the_label(injectors: Injectors, api: Api) -> None:
    process = injectors.start().wait_leading()
    admitted(api, pod())
    injectors.stop(process)
    assert create(api, pod(None)).status_code == 201
    # One that asked for a sidecar is not run without its models, and those who make it try again.
    refused = create(api, pod())
    assert refused.status_code == 500
    assert "sidecar.serving.pillion.dev" in refused.json()["message"]
    assert create(api, pod(), "sidecar-home").status_code == 201, "nobody asks about namespaces that are not watched"


def test_a_rotated_ca_costs_no_admission(
    sidecar_kubeconfig: Path, forwarder: Forwarder, api: Api, tmp_path: Path
) -> None:
    # Each replica has these four seconds to take up what another has made.
    lives = {"webhook_ca_seconds": "32", "webhook_certificate_seconds": "20", "webhook_settle_seconds": "4"}
    injectors = Injectors(sidecar_kubeconfig, tmp_path, forwarder, **lives)
    try:
        # What other tests have left lives for a year: these begin with their own.
        api.patch("Secret", HOME, "pillion-operator-webhook", {"data": None})
        first = injectors.start().wait_leading()
        injectors.start()
        admitted(api, pod())
        seen: dict[int, int] = {}
        together = 0
        deadline = time.monotonic() + 2 * WITHIN
        with Creations(api) as creations:
            # Two whole rotations: three CAs that were trusted alone.
            while sum(count == 1 for count in seen.values()) < 3:
                assert time.monotonic() < deadline, f"the CA was not rotated twice: {seen}\n{first.log()[-3000:]}"
                trusted = bundle(api)
                together = max(together, len(trusted))
                if len(trusted) == 1:
                    seen[trusted[0].serial_number] = 1
                time.sleep(0.1)
        assert [] == creations.failed
        assert creations.made > 100
        assert together == 2
    finally:
        injectors.stop_all()
        api.patch("Secret", HOME, "pillion-operator-webhook", {"data": None})


def test_replicas_that_are_replaced_cost_no_admission(injectors: Injectors, api: Api) -> None:
    replicas = [injectors.start().wait_leading(), injectors.start()]
    admitted(api, pod())
    with Creations(api) as creations:
        for leaving in replicas:
            injectors.start()
            assert injectors.stop(leaving) == 0
    assert [] == creations.failed
    assert creations.made > 20


def test_a_release_that_gives_sidecars_takes_over_from_one_that_does_not(injectors: Injectors, api: Api) -> None:
    api.patch("Secret", HOME, "pillion-operator-webhook", {"data": None})
    former = injectors.begin(sidecar_injector="false").wait_leading()
    # A rollout ends the former one only when this one is ready, and only a leader makes certificates.
    successor = injectors.begin().wait_ready()
    assert 0 == successor.metric("pillion_operator_leader")
    injectors.stop(former)
    injectors.publish(successor)
    admitted(api, pod())
