"""Callers who show the token of a ServiceAccount: a real API server makes, reviews and authorizes them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

from e2e.cluster.node.apiserver import ControlPlane
from pillion import Model, task
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.protocol.protos import runtime_pb2
from pillion.runtimefile import DesiredModel
from pillion.server import Server, token_review
from pillion.server.failures import StartError
from pillion.transport import reviewed_tokens
from tests.integration.server.process import iris_request
from tests.integration.server.test_api_key import _method
from tests.integration.server.test_embedding import settings
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.models import IrisModels

NAMESPACE = "shop"


class Counting(Model):
    """What jobs are of."""

    @task
    def double(self, n: int) -> int:
        return 2 * n


CALLER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "callers"},
    "rules": [
        {
            "apiGroups": ["serving.pillion.dev"],
            "resources": ["inferenceservices/predict"],
            "resourceNames": ["iris"],
            "verbs": ["create"],
        }
    ],
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """A control plane of the module's own, which is stopped and started; with its ServiceAccounts."""
    with ControlPlane() as started:
        started.kubectl("create", "namespace", NAMESPACE)
        scope = f"--namespace={NAMESPACE}"
        for name in ("server", "caller", "another", "stranger"):
            started.kubectl("create", "serviceaccount", name, scope)
        started.kubectl("apply", scope, "--filename=-", stdin=json.dumps(CALLER))
        started.kubectl(
            "create",
            "rolebinding",
            "callers",
            "--role=callers",
            f"--serviceaccount={NAMESPACE}:caller",
            f"--serviceaccount={NAMESPACE}:another",
            scope,
        )
        review = ("--clusterrole=system:auth-delegator", f"--serviceaccount={NAMESPACE}:server")
        started.kubectl("create", "clusterrolebinding", "reviews", *review)
        until_now(lambda: _may(started, "caller") and _may(started, "another"))
        yield started


def _may(cluster: ControlPlane, name: str) -> bool:
    """Whether the API server has heard of the right: its authorizer follows roles and bindings."""
    right = {"group": "serving.pillion.dev", "resource": "inferenceservices", "subresource": "predict"}
    spec = {
        "user": f"system:serviceaccount:{NAMESPACE}:{name}",
        "resourceAttributes": {**right, "namespace": NAMESPACE, "name": "iris", "verb": "create"},
    }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = json.loads(cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body))
    return bool(answer["status"]["allowed"])


def token(cluster: ControlPlane, name: str, *audiences: str) -> str:
    body: dict[str, Any] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": list(audiences)},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
    made: str = json.loads(cluster.request("POST", path, body))["status"]["token"]
    return made


@contextmanager
def serving(
    cluster: ControlPlane,
    iris: IrisModels,
    folder: Path,
    patch: pytest.MonkeyPatch,
    account: str = "server",
    engine: str = "grpcio",
    **more: dict[str, str],
) -> Iterator[Server]:
    """A server that finds what a pod of that ServiceAccount has."""
    folder.mkdir()
    (folder / "namespace").write_text(NAMESPACE)
    (folder / "token").write_text(token(cluster, account))
    (folder / "ca.crt").write_text(cluster.ca_certificate.read_text())
    address = urlsplit(cluster.url)
    patch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    patch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    patch.setattr(token_review, "_ACCOUNT", folder)
    grpc_port = {"host": "127.0.0.1", "port": 0, "engine": engine}
    asked = settings(auth={"inference_service": "iris"}, grpc=grpc_port, **more)
    models = [
        DesiredModel(name="iris", path=str(iris.onnx)),
        DesiredModel(name="counting", path="", format="python"),
    ]
    with Server(asked, models=models, classes={"counting": Counting}) as server:
        until_now(server.ready, 60)
        yield server


@pytest.fixture
def server(
    cluster: ControlPlane, iris: IrisModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    with serving(cluster, iris, tmp_path / "account", monkeypatch) as started:
        yield started


def rest(server: Server, shown: str | None) -> httpx.Response:
    headers = {} if shown is None else {"authorization": f"Bearer {shown}"}
    url = f"http://127.0.0.1:{server.ports['http']}/v2/models/iris/infer"
    return httpx.post(url, json=iris_request(), headers=headers)


def over_grpc(server: Server, shown: str) -> tuple[grpc.StatusCode, str]:
    request = pb.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="X", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([5.1, 3.5, 1.4, 0.2])
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        infer = _method(channel, "ModelInfer", pb.ModelInferResponse)
        try:
            answer = infer(request, metadata=(("authorization", f"Bearer {shown}"),))
        except grpc.RpcError as error:
            return error.code(), str(error.details())
    return grpc.StatusCode.OK, str(answer.model_name)


def test_who_has_the_right_is_answered_over_rest_and_grpc(cluster: ControlPlane, server: Server) -> None:
    good = token(cluster, "caller", "pillion")

    assert [200, 200] == [rest(server, good).status_code for _ in range(2)]
    other = token(cluster, "caller", "pillion")
    assert [(grpc.StatusCode.OK, "iris")] * 2 == [over_grpc(server, other) for _ in range(2)]


@pytest.mark.parametrize("engine", ["asyncio", "grpcio"])
def test_a_stream_of_a_caller_who_is_not_known_yet_begins_after_the_review(
    engine: str, cluster: ControlPlane, iris: IrisModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = pb.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="X", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([5.1, 3.5, 1.4, 0.2])

    def stream(server: Server, shown: str) -> list[Any]:
        with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
            call: Any = channel.stream_stream(
                "/inference.GRPCInferenceService/ModelStreamInfer",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=pb.ModelStreamInferResponse.FromString,
            )
            return list(call(iter([request, request]), metadata=(("authorization", f"Bearer {shown}"),)))

    with serving(cluster, iris, tmp_path / "account", monkeypatch, engine=engine) as server:
        assert [(grpc.StatusCode.OK, "iris")] * 2 == [
            over_grpc(server, shown) for shown in [token(cluster, "caller", "pillion")] * 2
        ]
        answers = stream(server, token(cluster, "caller", "pillion"))
        with pytest.raises(grpc.RpcError) as refused:
            stream(server, token(cluster, "stranger", "pillion"))
        with pytest.raises(grpc.RpcError) as nobody:
            stream(server, "a-key")

    assert ["iris", "iris"] == [answer.infer_response.model_name for answer in answers]
    assert grpc.StatusCode.PERMISSION_DENIED is refused.value.code()
    assert grpc.StatusCode.UNAUTHENTICATED is nobody.value.code()


BODY = {"inputs": 21}


def job_by_rest(server: Server, shown: str) -> str:
    answer = httpx.post(
        f"http://127.0.0.1:{server.ports['http']}/api/v1/task/double/job",
        content=json.dumps(BODY),
        headers={"authorization": f"Bearer {shown}", "idempotency-key": "once", "content-type": "application/json"},
    )
    assert 202 == answer.status_code, answer.text
    identity: str = answer.json()["prediction_id"]
    return identity


def job_by_grpc(server: Server, shown: str) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        call: Any = channel.unary_unary(
            "/pillion.runtime.JobService/SubmitJob",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=runtime_pb2.Job.FromString,
        )
        request = runtime_pb2.SubmitJobRequest(task="double", body=json.dumps(BODY).encode())
        metadata = (("authorization", f"Bearer {shown}"), ("idempotency-key", "once"))
        identity: str = call(request, metadata=metadata, timeout=60).prediction_id
        return identity


def test_a_job_is_known_again_by_a_token_that_was_renewed_and_by_no_other_account(
    cluster: ControlPlane, iris: IrisModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"folder": str(tmp_path / "jobs")}
    tokens = [token(cluster, "caller", "pillion") for _ in range(3)]
    assert 3 == len(set(tokens))

    with serving(cluster, iris, tmp_path / "account", monkeypatch, jobs=kept) as server:
        first, again, over = (
            job_by_rest(server, tokens[0]),
            job_by_rest(server, tokens[1]),
            job_by_grpc(server, tokens[2]),
        )
        theirs = token(cluster, "another", "pillion"), token(cluster, "another", "pillion")
        others = job_by_rest(server, theirs[0]), job_by_grpc(server, theirs[1])

    assert first == again == over
    assert others[0] == others[1] != first


def test_who_has_not_is_told_which_right_is_missing(cluster: ControlPlane, server: Server) -> None:
    answer = rest(server, token(cluster, "stranger", "pillion"))

    assert 403 == answer.status_code
    said = (
        "system:serviceaccount:shop:stranger may not call iris: it needs the right to create inferenceservices/predict"
    )
    assert said in answer.json()["error"]
    code, told = over_grpc(server, token(cluster, "stranger", "pillion"))
    assert grpc.StatusCode.PERMISSION_DENIED is code
    assert said in told


def test_what_is_no_token_for_this_is_refused(cluster: ControlPlane, server: Server) -> None:
    for_the_api_server = token(cluster, "caller")
    good = token(cluster, "caller", "pillion")

    for wrong in (None, "a-key", "a.b.c", good[:-4] + "AAAA", for_the_api_server):
        answer = rest(server, wrong)
        assert 401 == answer.status_code, wrong
        assert "WWW-Authenticate" in answer.headers
    assert grpc.StatusCode.UNAUTHENTICATED is over_grpc(server, for_the_api_server)[0]
    live = httpx.get(f"http://127.0.0.1:{server.ports['http']}/v2/health/live")
    assert 200 == live.status_code


def test_a_caller_stays_while_nobody_can_be_asked_and_a_new_one_waits(
    cluster: ControlPlane, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewed_tokens, "_GOOD_SECONDS", 0.0)
    known, unknown = token(cluster, "caller", "pillion"), token(cluster, "caller", "pillion")
    assert 200 == rest(server, known).status_code

    cluster.stop_apiserver()
    try:
        kept, refused = rest(server, known), rest(server, unknown)
    finally:
        cluster.start_apiserver()

    assert 200 == kept.status_code
    assert 503 == refused.status_code
    assert "the token cannot be reviewed: the API server cannot be asked" in refused.json()["error"]
    until_now(lambda: rest(server, unknown).status_code == 200)


def test_a_server_that_may_not_review_says_what_it_needs(
    cluster: ControlPlane, iris: IrisModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(cluster, iris, tmp_path / "account", monkeypatch, account="stranger") as powerless:
        answer = rest(powerless, token(cluster, "caller", "pillion"))

    assert 503 == answer.status_code
    assert "bind its ServiceAccount to the ClusterRole system:auth-delegator" in answer.json()["error"]


def test_outside_of_a_cluster_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(StartError, match="automountServiceAccountToken: true"):
        Server(settings(auth={"inference_service": "iris"})).start(blocking=False)
