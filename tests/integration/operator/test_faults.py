"""The API server misbehaves: watches go silent or are gone with deletions in the gap, writes fail, it is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.harness import Api, OperatorProcess, eventually, inference_service, running
from tests.integration.operator.proxy import FaultyApiServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

RESYNC_SECONDS = 4.0


@pytest.fixture
def front(cluster: ControlPlane) -> Iterator[FaultyApiServer]:
    with FaultyApiServer(cluster.kubeconfig) as started:
        yield started


@pytest.fixture
def operator(front: FaultyApiServer, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator of this namespace, behind the faulty front."""
    settings = {"namespaces": namespace, "lease_namespace": namespace, "resync_seconds": str(RESYNC_SECONDS)}
    # An API server that is away for a while may be so for longer on a busy machine.
    settings |= {"lease_duration_seconds": "90", "lease_renew_deadline_seconds": "80"}
    with running(front.kubeconfig(tmp_path), tmp_path / "operator.log", **settings) as process:
        yield process.wait_leading()


def deployments(api: Api, namespace: str) -> set[str]:
    return {found["metadata"]["name"] for found in api.list("Deployment", namespace)}


def uid(api: Api, namespace: str, name: str = "iris-predictor") -> str:
    found = api.get("Deployment", namespace, name)
    return found["metadata"]["uid"] if found else ""


def created(api: Api, namespace: str, name: str = "iris", **predictor: Any) -> None:
    api.create(namespace, inference_service(name, **predictor))
    eventually(lambda: api.get("Deployment", namespace, f"{name}-predictor"))


def test_a_deletion_in_the_gap_of_a_watch_is_found(
    front: FaultyApiServer, operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)
    known = uid(api, namespace)

    # Cut off while it happens; afterwards the old resource version is gone, so kopf lists anew.
    front.gone = front.down = True
    api.delete("Deployment", namespace, "iris-predictor")
    front.down = False
    eventually(lambda: operator.metric("pillion_operator_watch_events_total", kind="inferenceservices") > 1)
    front.gone = False

    eventually(lambda: uid(api, namespace) not in {"", known})


def test_a_service_deleted_in_the_gap_is_forgotten(
    front: FaultyApiServer, operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)

    front.gone = front.down = True
    api.delete("InferenceService", namespace, "iris")
    front.gone = front.down = False

    eventually(lambda: operator.metric("pillion_operator_inferenceservices") == 0)
    eventually(lambda: deployments(api, namespace) == set())


def test_a_watch_that_goes_silent_is_noticed_and_started_anew(
    front: FaultyApiServer, operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)
    known = uid(api, namespace)

    front.silent = True
    api.delete("Deployment", namespace, "iris-predictor")
    api.create(namespace, inference_service("second"))

    eventually(lambda: uid(api, namespace) not in {"", known})
    eventually(lambda: uid(api, namespace, "second-predictor"))

    def noticed() -> bool:
        # What lies between two lists at the start of a watch is nobody's fault, and found all the same: go on.
        before = uid(api, namespace)
        api.delete("Deployment", namespace, "iris-predictor")
        eventually(lambda: uid(api, namespace) not in {"", before})
        counters = ("pillion_operator_watch_restarts_total", "pillion_operator_watch_missed_total")
        return operator.metric(counters[0]) >= 1 and operator.metric(counters[1], kind="deployments") >= 1

    eventually(noticed)


def test_a_kind_that_does_not_answer_keeps_nobody_waiting_and_is_taken_up_when_it_does(
    front: FaultyApiServer, api: Api, namespace: str, tmp_path: Path
) -> None:
    front.broken = "ingresses"
    settings = {"namespaces": namespace, "lease_namespace": namespace, "resync_seconds": str(RESYNC_SECONDS)}
    with running(front.kubeconfig(tmp_path), tmp_path / "operator.log", **settings) as operator:
        operator.wait_leading()
        created(api, namespace)
        assert 200 == operator.probe("/readyz")[0]

        def silent() -> bool:
            return operator.metric("pillion_operator_lists_unanswered", kind="ingresses") == 1

        eventually(silent)
        front.broken = ""
        eventually(lambda: not silent())
        way = {"networking": {"ingress": {}, "hosts": ["iris.example.com"]}}
        api.patch("InferenceService", namespace, "iris", {"spec": way})
        eventually(lambda: api.list("Ingress", namespace))

        # It goes away again: the others are looked after, and what it had stays.
        front.broken = "ingresses"
        eventually(silent)
        known = uid(api, namespace)
        api.delete("Deployment", namespace, "iris-predictor")
        eventually(lambda: uid(api, namespace) not in {"", known})
        front.broken = ""
        eventually(lambda: not silent())
        assert api.list("Ingress", namespace)
        operator.at_rest()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_watches_that_stay_silent_make_the_process_sick(
    front: FaultyApiServer, operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)
    assert 200 == operator.probe("/livez")[0]

    front.silent = True

    def sick() -> bool:
        # Something must go on for a silent watch to be told from a quiet one.
        api.patch("InferenceService", namespace, "iris", {"metadata": {"labels": {"n": str(operator.writes())}}})
        api.delete("Deployment", namespace, "iris-predictor")
        eventually(lambda: uid(api, namespace))
        return operator.probe("/livez")[0] == 503

    eventually(sick, within=280)
    assert "watches missed changes" in operator.probe("/livez")[1]


@pytest.mark.slow
def test_a_fifth_of_the_writes_failing_only_delays(
    front: FaultyApiServer, operator: OperatorProcess, api: Api, namespace: str
) -> None:
    front.failing = 0.2
    names = [f"iris-{number}" for number in range(12)]
    for name in names:
        api.create(namespace, inference_service(name, minReplicas=2, sklearn={"storageUri": "s3://models/iris"}))

    def complete() -> bool:
        found = api.list("InferenceService", namespace)
        return len(found) == len(names) and all(
            s.get("status", {}).get("replicas", {}).get("desired") == 2 for s in found
        )

    eventually(complete)
    assert front.failed > 0
    wanted = {f"{name}-predictor" for name in names}
    for kind in ("Deployment", "Service", "PodDisruptionBudget"):
        eventually(lambda kind=kind: wanted == {c["metadata"]["name"] for c in api.list(kind, namespace)})  # type: ignore[misc]  # a default binds the value


def test_an_api_server_that_was_away_is_caught_up_with(
    front: FaultyApiServer, operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created(api, namespace)
    known = uid(api, namespace)

    # Shorter than the lease's renew deadline: a longer absence ends the process, which starts anew.
    front.down = True
    api.delete("Deployment", namespace, "iris-predictor")
    api.create(namespace, inference_service("second"))
    eventually(lambda: any("lease could not be" in line["message"] for line in operator.lines()))
    front.down = False

    eventually(lambda: uid(api, namespace) not in {"", known})
    eventually(lambda: uid(api, namespace, "second-predictor"))
