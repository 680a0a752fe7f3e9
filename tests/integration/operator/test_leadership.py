"""Two replicas, one leader: it is killed, frozen, stopped; and who wrote what is in the audit log."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import kopf
import pytest

from pillion_operator.client.connection import Connection, from_kubeconfig
from pillion_operator.client.fence import LeaseFence, OpenFence
from pillion_operator.client.kubernetes import KubernetesClient
from pillion_operator.client.lease import Election
from pillion_operator.rbac import manifests
from pillion_operator.state.manifest import Key
from tests.integration.operator.harness import (
    Api,
    OperatorProcess,
    apply,
    audited,
    eventually,
    inference_service,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

#: Less than the real times, and not by much: a busy machine keeps a leader from renewing in time.
TIMES = {"lease_duration_seconds": "12", "lease_renew_deadline_seconds": "8.4", "lease_retry_seconds": "1.4"}
WRITES = {"create", "update", "patch", "delete"}


@pytest.fixture
def replicas(
    cluster: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """A leader and a standby for this namespace, each with an account of its own, so that audits tell them apart."""
    kubeconfigs = []
    for name in ("first", "second"):
        cluster.kubectl("create", "serviceaccount", name, "--namespace", namespace)
        apply(
            cluster,
            *manifests(service_account=name, operator_namespace=namespace, namespaces=(namespace,), name=name),
        )
        kubeconfigs.append(cluster.kubeconfig_for_service_account(namespace, name))
    settings = {"namespaces": namespace, "lease_namespace": namespace, **TIMES}
    with running(kubeconfigs[0], tmp_path / "first.log", identity="first", **settings) as first:
        first.wait_leading()
        with running(kubeconfigs[1], tmp_path / "second.log", identity="second", **settings) as second:
            second.wait_ready()
            yield first, second


def writes_of(audit_log: Path, namespace: str, account: str) -> list[dict[str, Any]]:
    """Writes of that replica, the lease aside, as the API server took note of them, in their order."""
    user = f"system:serviceaccount:{namespace}:{account}"
    lines = audited(audit_log, user)
    return [
        line
        for line in lines
        if line["verb"] in WRITES and line["user"]["username"] == user and line["objectRef"]["resource"] != "leases"
    ]


def holder(api: Api, namespace: str) -> str:
    lease = api.get("Lease", namespace, "pillion-operator")
    return lease["spec"]["holderIdentity"] if lease else ""


def own_deployment(namespace: str) -> dict[str, Any]:
    """What the operator's chart installs, without pods."""
    labels = {"app": "pillion-operator"}
    container = {"name": "operator", "image": "pillion-operator"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "pillion-operator", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def with_client(connection: Connection, act: Callable[[KubernetesClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with KubernetesClient(connection, OpenFence()) as client:
            await act(client)

    asyncio.run(run())


def deployed(api: Api, namespace: str) -> int:
    return len(api.list("Deployment", namespace))


def test_the_standby_writes_nothing(
    replicas: tuple[OperatorProcess, OperatorProcess], audit_log: Path, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service())
    eventually(lambda: deployed(api, namespace) == 1)

    assert "first" == holder(api, namespace)
    eventually(lambda: writes_of(audit_log, namespace, "first"))
    assert [] == writes_of(audit_log, namespace, "second")


def test_a_killed_leader_is_replaced_and_work_goes_on(
    replicas: tuple[OperatorProcess, OperatorProcess], api: Api, namespace: str
) -> None:
    first, second = replicas
    first.signal(signal.SIGKILL)
    api.create(namespace, inference_service())

    eventually(lambda: deployed(api, namespace) == 1)

    assert "second" == holder(api, namespace)
    eventually(lambda: second.metric("pillion_operator_leader") == 1)


def test_a_stopped_leader_gives_the_lease_up_at_once(
    replicas: tuple[OperatorProcess, OperatorProcess], api: Api, namespace: str
) -> None:
    first, second = replicas
    lease = api.get("Lease", namespace, "pillion-operator")
    assert lease is not None
    code = first.stop()

    eventually(lambda: holder(api, namespace) == "second")

    assert 0 == code
    # Given up, and not abandoned until it would have run out.
    since = api.history("Lease", namespace, lease["metadata"]["resourceVersion"])
    assert "" in [known["spec"].get("holderIdentity", "") for known in since]
    eventually(lambda: second.metric("pillion_operator_leader") == 1)


def test_an_uninstalled_operator_leaves_no_lease_although_its_rights_went_first(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("create", "serviceaccount", "first", "--namespace", namespace)
    roles = manifests(service_account="first", operator_namespace=namespace, namespaces=(namespace,), name="first")
    apply(cluster, *roles, own_deployment(namespace))
    uid = eventually(lambda: api.get("Deployment", namespace, "pillion-operator") or {})["metadata"]["uid"]
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "first")
    settings = {"namespaces": namespace, "lease_namespace": namespace, "deployment_name": "pillion-operator"}
    with running(kubeconfig, tmp_path / "first.log", identity="first", **settings) as first:
        first.wait_leading()
        owner, *more = eventually(lambda: api.get("Lease", namespace, "pillion-operator") or {})["metadata"][
            "ownerReferences"
        ]
        assert ([], uid) == (more, owner["uid"])

        # The order of `helm uninstall`: everything is deleted before the kubelet tells the pods.
        cluster.kubectl("delete", "rolebindings", "--all", "--namespace", namespace)
        api.delete("Deployment", namespace, "pillion-operator")
        started = time.monotonic()
        first.stop()
        took = time.monotonic() - started

    assert took < 50, "what cannot be given up holds nobody back"
    assert eventually(lambda: api.get("Lease", namespace, "pillion-operator") is None)


def test_a_lease_that_changed_since_the_last_renewal_is_given_up_all_the_same(
    cluster: ControlPlane, api: Api, namespace: str
) -> None:
    async def acquire_and_release(client: KubernetesClient) -> None:
        election = Election(client, LeaseFence(), Key(namespace, "pillion-operator"), "me")
        # It renews after two seconds, so it does not see what is written here.
        running = asyncio.create_task(election.run())
        await election.leading.wait()
        running.cancel()
        api.patch("Lease", namespace, "pillion-operator", {"metadata": {"labels": {"touched": "yes"}}})

        await election.release()

    with_client(from_kubeconfig(cluster.kubeconfig), acquire_and_release)

    lease = api.get("Lease", namespace, "pillion-operator")
    assert lease is not None
    assert "yes" == lease["metadata"]["labels"]["touched"]
    assert ("", 1) == (lease["spec"].get("holderIdentity", ""), lease["spec"]["leaseDurationSeconds"])


def test_an_api_server_that_does_not_answer_delays_a_shutdown_by_two_seconds_at_most() -> None:
    async def release_in_vain(port: int) -> float:
        connection = Connection(lambda: kopf.ConnectionInfo(server=f"http://127.0.0.1:{port}"), "default")
        async with KubernetesClient(connection, OpenFence()) as client:
            election = Election(client, LeaseFence(), Key("default", "pillion-operator"), "me")
            election.leading.set()
            started = time.monotonic()
            await election.release()
            return time.monotonic() - started

    # The kernel takes the connection; nobody reads from it.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert 1.5 < asyncio.run(release_in_vain(silent.getsockname()[1])) < 40


def test_a_frozen_leader_writes_nothing_after_it_wakes(
    replicas: tuple[OperatorProcess, OperatorProcess], audit_log: Path, api: Api, namespace: str
) -> None:
    first, second = replicas
    for number in range(10):
        api.create(namespace, inference_service(f"iris-{number}"))
    # In the middle of its work, with requests half done.
    eventually(lambda: deployed(api, namespace) >= 2, pause=0.001)
    first.signal(signal.SIGSTOP)
    eventually(lambda: second.metric("pillion_operator_leader") == 1)
    eventually(lambda: deployed(api, namespace) == 10)
    before = len(writes_of(audit_log, namespace, "first"))
    for number in range(10):
        api.delete("Deployment", namespace, f"iris-{number}-predictor")

    first.signal(signal.SIGCONT)

    assert 3 == first.wait()
    eventually(lambda: deployed(api, namespace) == 10)
    # At most what the frozen process had handed to the kernel already: one request for each of its workers.
    late = writes_of(audit_log, namespace, "first")[before:]
    assert [] == [line["requestURI"] for line in late]


def test_a_frozen_standby_that_wakes_does_not_take_over(
    replicas: tuple[OperatorProcess, OperatorProcess], api: Api, namespace: str
) -> None:
    _, second = replicas
    second.signal(signal.SIGSTOP)
    eventually(lambda: _renewals(api, namespace) >= 8)

    second.signal(signal.SIGCONT)
    eventually(lambda: _renewals(api, namespace) >= 8)

    assert "first" == holder(api, namespace)
    assert 0 == second.metric("pillion_operator_leader")


_seen: dict[str, set[str]] = {}


def _renewals(api: Api, namespace: str) -> int:
    """How many renewals were seen since the counter last reached the limit that is waited for."""
    lease = api.get("Lease", namespace, "pillion-operator")
    seen = _seen.setdefault(namespace, set())
    if len(seen) >= 8:
        seen.clear()
    if lease:
        seen.add(lease["spec"]["renewTime"])
    return len(seen)
