"""Replicas of the activator that come and go while no operator runs: real ones, and a real API server."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx

from tests.integration.operator.activating import SERVICE, Asleep, activating, announce, own_address, serving
from tests.integration.operator.harness import PATHS, Api, eventually, running
from tests.integration.operator.scaled import create, replicas
from tests.integration.operator.test_activator import echo
from tests.integration.operator.test_pod_scaling import CountingPods, counting
from tests.integration.operator.test_scale_to_zero import _BEHAVIOR, asleep, leads, listen, ports, up
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["counting"]

_SYSTEM = "pillion-system"
#: Addresses for documentation: nobody is there.
_GONE, _OTHER = "192.0.2.7", "192.0.2.8"


def lead_to(api: Api, namespace: str, *addresses: str) -> None:
    path = f"{PATHS['EndpointSlice'].format(namespace)}/iris-predictor-activator"
    endpoints = [{"addresses": [one], "conditions": {"ready": True}} for one in addresses]
    api.send("PATCH", path, {"endpoints": endpoints}, "application/merge-patch+json").raise_for_status()


def test_a_service_without_pods_wakes_after_the_activator_was_replaced_while_no_operator_ran(
    operator_kubeconfig: Path,
    activator_kubeconfig: Path,
    api: Api,
    namespace: str,
    counting: CountingPods,
    tmp_path: Path,
) -> None:
    service = f"{_SYSTEM}/replaced"
    settings = {"service": service, "http_host": "0.0.0.0"}
    with (
        activating(activator_kubeconfig, tmp_path / "first.log", **settings) as first,
        running(
            operator_kubeconfig, tmp_path / "operator.log", lease_namespace=_SYSTEM, activator_service="replaced"
        ) as operator,
    ):
        announce(api, service, first)
        create(api, namespace, minReplicas=0, autoScaling=_BEHAVIOR)
        up(api, namespace, counting)
        asleep(api, namespace)
        assert [own_address()] == leads(api, namespace)
        operator.signal(signal.SIGKILL)
    # The only address of this machine stands for both replicas: where the first one was, nobody is any more.
    lead_to(api, namespace, _GONE)

    with activating(activator_kubeconfig, tmp_path / "second.log", **settings) as second:
        announce(api, service, second)
        eventually(lambda: leads(api, namespace) == [own_address()])
        with serving(echo) as port, ThreadPoolExecutor(1) as pool, httpx.Client(trust_env=False) as client:
            url = f"http://{own_address()}:{ports(api, namespace)['http']}/"
            answer = pool.submit(client.post, url, content=b"12345", timeout=WITHIN)
            eventually(lambda: replicas(api, namespace) == 1)
            listen(api, namespace, http=port)
            assert "5" == answer.result().text


def test_a_replica_writes_itself_in_and_those_that_are_gone_out_and_leaves_others_alone(
    activator_kubeconfig: Path, api: Api, namespace: str, tmp_path: Path
) -> None:
    with activating(activator_kubeconfig, tmp_path / "activator.log", service=SERVICE) as activator:
        sleeping = Asleep(api, namespace, "http").known_to(activator)
        lead_to(api, namespace, _GONE, _OTHER)
        announce(api, SERVICE, activator, own_address(), _OTHER)
        eventually(lambda: leads(api, namespace) == sorted([own_address(), _OTHER]))

        # One that is told to stop is not Ready any more, by the word of its own Service.
        announce(api, SERVICE, activator, _OTHER)
        eventually(lambda: leads(api, namespace) == [_OTHER])

        # What the operator has withdrawn is led nowhere.
        announce(api, SERVICE, activator, own_address())
        eventually(lambda: leads(api, namespace) == [own_address()])
        sleeping.hold(held=False)
        lead_to(api, namespace)
        announce(api, SERVICE, activator, own_address(), _OTHER)
        other = Asleep(api, _further(api, namespace), "http").known_to(activator)
        eventually(lambda: leads(api, other.namespace) == [own_address()])
        # Which it says after it has looked at all of them: one that holds nothing is nobody's.
        assert [] == leads(api, namespace)


def _further(api: Api, namespace: str) -> str:
    name = f"{namespace}-further"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    api.send("POST", "/api/v1/namespaces", body).raise_for_status()
    return name
