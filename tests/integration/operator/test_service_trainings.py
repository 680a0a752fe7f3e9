"""Trainings that a service's pods are asked for: real servers with the rights that the operator gives, beside its Job.

Two servers stand for two pods: each finds what a pod of the service finds, its token and the operator's runtime.yaml.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - the class is looked at when it is served
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
import yaml
from typer.testing import CliRunner

from pillion import Model, Stream, task, train
from pillion.cli.main import app
from pillion.client.sync import Client
from pillion.protocol.protos import runtime_pb2 as pb
from pillion.runtimefile import DesiredModel
from pillion.server import Server, cluster_trainings
from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, running, training_job
from tests.integration.operator.test_trainings import RUNNING, complete, kubelet_says, pod_of
from tests.integration.server.test_embedding import settings
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane

KEY = "a-key-of-management"
SHOWN = {"authorization": f"Bearer {KEY}"}
ROUTE = "/api/v1/ClassifyMoodTrain"
BODY = {"model_name": "mine", "parameters": {"data": {"uri": "s3://data/moods.jsonl"}, "epochs": 2}}


class Mood(Model):
    """What is trained."""

    def load(self, artifact: Path | None = None) -> None:
        """Nothing is learnt here."""

    def save(self, path: Path) -> None:
        (path / "mood").write_text("good")

    @task
    def classify(self, text: str) -> int:
        return len(text)

    @train
    @classmethod
    def fit(cls, data: Stream[str], epochs: int = 1) -> Self:
        raise AssertionError("this is for the training's own pod")


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator that may give services these rights."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running(operator_kubeconfig, log, lease_namespace="pillion-system", service_trainings="true") as process:
        yield process.wait_leading()


class Service:
    """An InferenceService with jobs.enabled, whose pods are servers of this process."""

    def __init__(self, cluster: ControlPlane, api: Api, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self._cluster = cluster
        self._folder = folder
        cluster.kubectl("create", "serviceaccount", "trainer", "--namespace", namespace)
        api.create(namespace, _manifest())
        config = eventually(lambda: api.get("ConfigMap", namespace, "mood-predictor-runtime"))
        assert config is not None
        self.told: dict[str, Any] = yaml.safe_load(config["data"]["runtime.yaml"])["settings"]["jobs"]

    @contextmanager
    def pod(self, patch: pytest.MonkeyPatch, account: str = "trainer") -> Iterator[str]:
        """A server that finds what a pod of that ServiceAccount has; its URL."""
        folder = self._folder / str(len(list(self._folder.iterdir())))
        folder.mkdir()
        (folder / "namespace").write_text(self.namespace)
        token = self._cluster.kubectl("create", "token", account, "--namespace", self.namespace)
        (folder / "token").write_text(token)
        (folder / "ca.crt").write_text(self._cluster.ca_certificate.read_text())
        address = urlsplit(self._cluster.url)
        patch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
        patch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
        patch.setattr(cluster_trainings, "_ACCOUNT", folder)
        # Where images have the code of the class; this file may lie in /tmp, which is no part of them.
        patch.setattr(sys.modules[__name__], "__file__", "/app/moods.py")
        asked = settings(jobs=self.told, management={"enabled": True, "token": KEY})
        models = [DesiredModel(name="mood", path="", format="python")]
        with Server(asked, models=models, classes={"mood": Mood}) as server:
            until_now(server.ready, 60)
            self.grpc = f"127.0.0.1:{server.ports['grpc']}"
            yield f"http://127.0.0.1:{server.ports['http']}"


def _manifest(**jobs: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "mood"},
        "spec": {
            "predictor": {
                "containers": [{"name": "runtime", "image": "registry/mood:1"}],
                "serviceAccountName": "trainer",
                "minReplicas": 2,
                "jobs": {"enabled": True, "output": {"uri": "s3://models/trained"}, **jobs},
            }
        },
    }


@pytest.fixture
def service(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> Iterator[Service]:
    folder = tmp_path / "accounts"
    folder.mkdir()
    made = Service(cluster, api, namespace, folder)
    eventually(lambda: api.get("RoleBinding", namespace, "mood-predictor-trainings"))
    eventually(lambda: _may_create(cluster, namespace))
    yield made
    api.delete("InferenceService", namespace, "mood")


def _may_create(cluster: ControlPlane, namespace: str) -> bool:
    """Whether the API server has taken the binding up."""
    account = Api(cluster.kubeconfig_for_service_account(namespace, "trainer"))
    try:
        path = f"/apis/serving.pillion.dev/v1beta1/namespaces/{namespace}/trainingjobs"
        return account.send("GET", path).status_code == 200
    finally:
        account.close()


@pytest.fixture
def pods(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    with service.pod(monkeypatch) as one, service.pod(monkeypatch) as other:
        yield one, other


def ask(method: str, url: str, body: object = None, **headers: str) -> httpx.Response:
    return httpx.request(method, url, json=body, headers=SHOWN | headers, timeout=60, trust_env=False)


def _method(channel: grpc.Channel, name: str) -> Any:
    return channel.unary_unary(
        f"/pillion.runtime.TrainingManagement/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=pb.Job.FromString,
    )


def state(pod: str, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = ask("GET", f"{pod}/management/trainings?training_id={identity}").json()
    return found


def test_every_pod_answers_for_a_training_that_one_was_asked_for(
    pods: tuple[str, str], service: Service, api: Api, namespace: str
) -> None:
    one, other = pods
    begun = ask("POST", f"{one}{ROUTE}", BODY, **{"idempotency-key": "k-1"})
    assert (202, "QUEUED") == (begun.status_code, begun.json()["state"])
    identity = begun.json()["training_id"]

    made = api.get("TrainingJob", namespace, identity)
    assert made is not None
    assert ("registry/mood:1", "trainer") == (made["spec"]["image"], made["spec"]["serviceAccountName"])
    assert ("ClassifyMoodTrain", {"epochs": 2}) == (made["spec"]["task"], made["spec"]["parameters"])
    assert {"uri": "s3://data/moods.jsonl", "parameter": "data"} == made["spec"]["dataset"]
    assert "key:management.token" == made["metadata"]["annotations"]["serving.pillion.dev/asked-by"]

    again = ask("POST", f"{other}{ROUTE}", BODY, **{"idempotency-key": "k-1"})
    assert (202, identity) == (again.status_code, again.json()["training_id"])
    changed = ask("POST", f"{other}{ROUTE}", {**BODY, "model_name": "x"}, **{"idempotency-key": "k-1"})
    assert (400, True) == (changed.status_code, "came with another request before" in changed.json()["details"])

    pod = pod_of(api, namespace, identity)
    kubelet_says(api, namespace, pod, "Running", RUNNING)
    until_now(lambda: state(other, identity)["state"] == "RUNNING")
    listed = ask("GET", f"{other}/management/trainings?state=RUNNING").json()
    assert ([identity], None) == ([one["training_id"] for one in listed["trainings"]], listed["next"])
    assert identity == ask("GET", f"{one}/management/jobs?job_id={identity}").json()["training_id"]
    assert [identity] == [job["training_id"] for job in ask("GET", f"{one}/management/jobs").json()["jobs"]]
    command = f"kubectl logs -n {namespace} pod/{pod} -c training"
    until_now(lambda: command in ask("GET", f"{other}/management/trainings/{identity}/logs").text)

    with grpc.insecure_channel(service.grpc) as channel:
        metadata = tuple(SHOWN.items())
        status = _method(channel, "GetTrainingStatus")
        assert pb.RUNNING == status(pb.TrainingRequest(training_id=identity), metadata=metadata).state
        start = _method(channel, "StartTraining")
        asked = pb.StartTrainingRequest(training="ClassifyMoodTrain", model_name="small")
        asked.parameters.update({"data": ["a"], "epochs": 3})
        small = start(asked, metadata=metadata).training_id
    assert "small" == state(one, small)["model_name"]

    stopped = ask("DELETE", f"{one}/management/trainings?training_id={identity}").json()
    assert stopped["cancel_requested"] is True
    until_now(lambda: state(other, identity)["state"] == "CANCELED")
    still = ask("DELETE", f"{other}/management/trainings?training_id={identity}").json()
    assert "CANCELED" == still["state"]


def test_the_command_follows_a_training_in_the_cluster_to_its_model(
    pods: tuple[str, str], api: Api, namespace: str
) -> None:
    found: list[str] = []

    def be_the_kubelet() -> None:
        listed = eventually(lambda: api.list("TrainingJob", namespace))
        found.append(listed[0]["metadata"]["name"])
        complete(api, namespace, found[0], uri=f"s3://models/trained/{found[0]}/1f1f1f1f1f1f")

    kubelet = threading.Thread(target=be_the_kubelet)
    kubelet.start()
    command = ["train", "mine", "--data", "s3://data/moods.jsonl", "--set", "epochs=2", "--url", pods[0]]
    result = CliRunner().invoke(app, command, env={"PILLION_API_KEY": KEY})
    kubelet.join()

    assert 0 == result.exit_code, result.output
    assert f"training {found[0]}" in result.output
    assert f"mine version 1f1f1f1f1f1f: s3://models/trained/{found[0]}/1f1f1f1f1f1f" in result.output
    with Client(pods[1], api_key=KEY) as client:
        assert [0.97] == [row["accuracy"] for row in client.job(found[0]).metrics()]


def test_what_cannot_be_done_in_the_cluster_is_said_before_anything_is_made(
    pods: tuple[str, str], api: Api, namespace: str
) -> None:
    def refused(**changes: object) -> tuple[int, str]:
        answer = ask("POST", f"{pods[0]}{ROUTE}", {**BODY, **changes})
        return answer.status_code, answer.json()["details"]

    assert (400, True) == ((told := refused(output_path="/x"))[0], "below s3://models/trained" in told[1])
    assert (400, True) == ((told := refused(deploy=True))[0], "followTrainings: true" in told[1])
    local = {"data": {"uri": "file:///data.jsonl"}}
    assert (400, True) == ((told := refused(parameters=local))[0], "put the data into storage" in told[1])
    assert 422 == refused(parameters={"data": ["a"], "epoch": 2})[0]
    assert [] == api.list("TrainingJob", namespace)


def test_trainings_of_others_are_neither_told_nor_cancelled(pods: tuple[str, str], api: Api, namespace: str) -> None:
    api.create(namespace, training_job("theirs"))

    for method in ("GET", "DELETE"):
        answer = ask(method, f"{pods[0]}/management/trainings?training_id=theirs")
        assert (404, True) == (answer.status_code, "there is no training 'theirs'" in answer.json()["details"])
    assert [] == ask("GET", f"{pods[0]}/management/trainings").json()["trainings"]
    assert 404 == ask("GET", f"{pods[0]}/management/trainings?training_id=../pods").status_code
    assert 401 == httpx.get(f"{pods[0]}/management/trainings", trust_env=False).status_code


def test_the_pods_may_do_nothing_else_in_the_cluster(
    service: Service, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    pod = Api(cluster.kubeconfig_for_service_account(namespace, "trainer"))
    jobs = "/apis/serving.pillion.dev/v1beta1/namespaces/{}/trainingjobs"
    try:
        # The API server learns of a binding a moment after it has stored it.
        eventually(lambda: pod.send("GET", jobs.format(namespace)).status_code == 200)
        others = [
            ("GET", jobs.format("default")),
            ("DELETE", f"{jobs.format(namespace)}/x"),
            ("GET", f"/api/v1/namespaces/{namespace}/secrets"),
            ("GET", f"/api/v1/namespaces/{namespace}/pods"),
            ("GET", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles"),
        ]
        assert [403] * len(others) == [pod.send(*request).status_code for request in others]
    finally:
        pod.close()

    api.patch("InferenceService", namespace, "mood", {"spec": {"predictor": {"jobs": {"enabled": False}}}})
    names = ("Role", "RoleBinding")
    eventually(lambda: not any(api.get(kind, namespace, "mood-predictor-trainings") for kind in names))


def test_pods_without_the_right_are_told_so_and_where_to_look(
    service: Service, cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.kubectl("create", "serviceaccount", "nobody", "--namespace", namespace)
    with service.pod(monkeypatch, "nobody") as pod:
        answer = ask("POST", f"{pod}{ROUTE}", BODY)

    assert 503 == answer.status_code
    assert "the API server does not let this pod POST TrainingJobs" in answer.json()["details"]
    assert "the condition JobStoreReady of the InferenceService" in answer.json()["details"]


def test_the_service_says_that_an_operator_may_not_give_the_right(
    operator_kubeconfig: Path, api: Api, namespace: str, tmp_path: Path, cluster: ControlPlane
) -> None:
    cluster.kubectl("create", "serviceaccount", "trainer", "--namespace", namespace)
    told = {"lease_namespace": namespace, "namespaces": namespace, "lease_name": "pillion-operator"}
    with running(cluster.kubeconfig, tmp_path / "operator.log", **told) as process:
        process.wait_leading()
        api.create(namespace, _manifest())

        def look() -> dict[str, Any] | None:
            found = condition(api.get("InferenceService", namespace, "mood"), "JobStoreReady")
            return found if found.get("reason") == "TrainingsNotGranted" else None

        found = eventually(look)

    assert found is not None
    assert "trainings.fromServices" in found["message"]
