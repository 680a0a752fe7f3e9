"""One service with TLS and two replicas, seen from every side: kubectl, clients in other pods, Prometheus."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.prometheus import Prometheus
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.harness.release import Release
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.smoke

CA = "/certificates/ca.crt"


@pytest.fixture(scope="module")
def iris(new_stage: Callable[[str], Stage], release: Release) -> Stage:
    """A namespace in which the InferenceService `iris` is Ready with two replicas and TLS."""
    stage = new_stage("serving")
    stage.issue("iris", "iris-tls")
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops", tls="iris-tls", minReplicas=2))
    stage.wait_ready("iris")
    stage.wait_rolled_out("iris")
    return stage


def test_kubectl_get_shows_url_readiness_replicas_model_and_reason(iris: Stage) -> None:
    header, row = iris.target.kubectl("get", "pisvc", f"--namespace={iris.namespace}").splitlines()

    assert header.split() == ["NAME", "URL", "READY", "REPLICAS", "CANARY", "MODEL", "REASON", "AGE"]
    url = f"https://iris-predictor.{iris.namespace}.svc.cluster.local"
    # There is no canary: kubectl leaves its column empty.
    assert ["iris", url, "True", "2/2", "Loaded", "Loaded"] == row.split()[:-1]


def test_every_condition_speaks_of_the_newest_generation(iris: Stage) -> None:
    status = eventually(
        lambda: (iris.get("pisvc", "iris") or {})["status"],
        lambda status: all(c["status"] == "False" for c in status["conditions"] if c["type"] == "Reconciling"),
        within=30,
        what="nothing is being reconciled",
    )
    conditions = {condition["type"]: condition for condition in status["conditions"]}

    assert {condition["observedGeneration"] for condition in conditions.values()} == {status["observedGeneration"]}
    good = {"Ready", "PredictorReady", "RoutesReady", "ModelLoaded"}
    assert {"True"} == {conditions[name]["status"] for name in good}
    assert {"False"} == {conditions[name]["status"] for name in ("Stalled", "Reconciling", "Stopped")}


def test_kubectl_wait_returns(iris: Stage) -> None:
    said = iris.target.kubectl(
        "wait", "pisvc/iris", f"--namespace={iris.namespace}", "--for=condition=Ready", "--timeout=20s"
    )

    assert "condition met" in said


def test_curl_predicts_over_https_by_the_services_name(iris: Stage) -> None:
    assert iris.predict("iris", scheme="https")["data"] == [0]


def test_curl_refuses_the_server_without_its_authority(iris: Stage) -> None:
    url = f"https://iris-predictor.{iris.namespace}.svc/v2/health/live"

    done = iris.client("curl", "--silent", "--show-error", "--max-time", "10", url, check=False)

    assert done.status == 60, done.stderr


def test_plain_http_to_the_tls_port_gets_no_answer(iris: Stage) -> None:
    url = f"http://iris-predictor.{iris.namespace}.svc:443/v2/health/live"

    done = iris.client("curl", "--silent", "--show-error", "--max-time", "10", url, check=False)

    assert done.status != 0


_TRITON_HTTP = """
import sys, numpy, tritonclient.http as triton
client = triton.InferenceServerClient(sys.argv[1], ssl=True, ssl_options={"ca_certs": sys.argv[2]})
assert client.is_server_ready() and client.is_model_ready("iris")
name = client.get_model_metadata("iris")["inputs"][0]["name"]
for binary in (False, True):
    tensor = triton.InferInput(name, [1, 4], "FP64")
    tensor.set_data_from_numpy(numpy.array([[5.1, 3.5, 1.4, 0.2]]), binary_data=binary)
    answer = client.infer("iris", [tensor])
    print(answer.as_numpy(answer.get_response()["outputs"][0]["name"]).tolist())
"""

_TRITON_GRPC = """
import sys, numpy, tritonclient.grpc as triton
client = triton.InferenceServerClient(sys.argv[1], ssl=True, root_certificates=sys.argv[2])
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("iris")
name = client.get_model_metadata("iris").inputs[0].name
tensor = triton.InferInput(name, [1, 4], "FP64")
tensor.set_data_from_numpy(numpy.array([[5.1, 3.5, 1.4, 0.2]]))
answer = client.infer("iris", [tensor])
print(answer.as_numpy(answer.get_response().outputs[0].name).tolist())
"""


def test_tritonclient_predicts_over_https_with_json_and_with_binary_tensors(iris: Stage) -> None:
    done = iris.client("python", "-c", _TRITON_HTTP, f"iris-predictor.{iris.namespace}.svc:443", CA)

    assert done.stdout.splitlines() == ["[0]", "[0]"]


def test_tritonclient_predicts_over_grpc_with_tls(iris: Stage) -> None:
    done = iris.client("python", "-c", _TRITON_GRPC, f"iris-predictor.{iris.namespace}.svc:8081", CA)

    assert done.stdout.splitlines() == ["[0]"]


def test_ghz_counts_every_call_as_ok(iris: Stage) -> None:
    data = {
        "model_name": "iris",
        "inputs": [
            {"name": "input", "datatype": "FP64", "shape": [1, 4], "contents": {"fp64_contents": models.SETOSA}}
        ],
    }
    done = iris.client(
        "ghz", "--cacert", CA, "--total", "200", "--concurrency", "4", "--format", "json",
        "--call", "inference.GRPCInferenceService.ModelInfer", "--data", json.dumps(data),
        f"iris-predictor.{iris.namespace}.svc:8081",
    )  # fmt: skip  # option and value read as pairs

    assert json.loads(done.stdout)["statusCodeDistribution"] == {"OK": 200}


def test_grpcurl_lists_the_services_by_reflection_and_reads_the_health_of_the_model(iris: Stage) -> None:
    address = f"iris-predictor.{iris.namespace}.svc:8081"

    listed = iris.client("grpcurl", "-cacert", CA, address, "list").stdout.split()
    health = iris.client(
        "grpcurl", "-cacert", CA, "-d", '{"service": "iris"}', address, "grpc.health.v1.Health/Check"
    ).stdout

    assert {"grpc.health.v1.Health", "inference.GRPCInferenceService"} <= set(listed)
    assert json.loads(health) == {"status": "SERVING"}


def test_the_certificate_lets_a_client_verify_every_name_of_the_service(iris: Stage) -> None:
    for host in ("iris-predictor", f"iris-predictor.{iris.namespace}", f"iris-predictor.{iris.namespace}.svc"):
        done = iris.client("curl", "--silent", "--show-error", "--cacert", CA, f"https://{host}/v2/health/ready")
        assert done.status == 0


def test_predictor_pods_fit_the_restricted_standard_without_a_warning(iris: Stage) -> None:
    done = iris.target.kubectl.run(
        "label",
        "--dry-run=server",
        "--overwrite",
        "namespace",
        iris.namespace,
        "pod-security.kubernetes.io/enforce=restricted",
        "pod-security.kubernetes.io/enforce-version=latest",
    )

    assert "Warning" not in done.stderr


def test_the_admin_port_offers_other_pods_nothing_to_change(iris: Stage) -> None:
    address = iris.pods("iris")[0]["status"]["podIP"]
    answers = {
        path: iris.client(
            "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--request", "POST",
            f"http://{address}:8082{path}",
        ).stdout
        for path in ("/drain", "/status", "/v2/repository/models/iris/unload")
    }  # fmt: skip  # option and value read as pairs

    assert {code[0] for code in answers.values()} == {"4"}, answers


def test_prometheus_scrapes_operator_and_runtime(iris: Stage) -> None:
    iris.predict("iris", scheme="https")
    prometheus = Prometheus(iris)
    prometheus.start()

    up = eventually(
        lambda: prometheus.query('up{job="pods"}'),
        lambda series: len(series) >= 4 and all(value == 1 for value in series.values()),
        within=60,
        what="Prometheus scrapes two operator pods and two runtime pods",
    )

    assert len(up) >= 4
    assert prometheus.query('sum by (model) (pillion_requests_total{model="iris"})')
    assert prometheus.query('{__name__=~"pillion_operator_.+"}')
