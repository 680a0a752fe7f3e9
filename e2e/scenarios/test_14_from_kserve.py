"""What KServe's users have, moved as its guide says: their manifests, Secrets, runtimes and clients, beside their CRDs.

The manifests, requests and runtimes are KServe's own, read from its released module and put through `pillion convert`.
Its samples name public buckets, which a test does not reach: an emulator holds artifacts of the same formats at the
same places, and the only thing said of it is its endpoint, in a Secret of the default ServiceAccount. What answers is
compared with the same model in this process. What else a test changes in a manifest stands in the test.
"""

from __future__ import annotations

import base64
import io
import json
import time
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest
import yaml
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from e2e.harness import kserve, manifests, models
from e2e.harness.bucket import ACCESS_KEY, SECRET_KEY, Bucket
from e2e.harness.cloud_storage import CloudStorage
from e2e.harness.release import ensure_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.harness.manifests import Manifest
    from e2e.harness.release import Release
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage
    from e2e.harness.target import Target

#: The two flowers of KServe's samples.
ROWS = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]
_JOBLIB = "gs://kfserving-examples/models/sklearn/1.0/model/model.joblib"


@pytest.fixture(scope="module", autouse=True)
def kserve_definitions(target: Target) -> Iterator[None]:
    """KServe's CRDs, beside ours for as long as this file runs."""
    files = [f"--filename={file}" for file in kserve.definitions()]
    target.kubectl("apply", "--server-side", *files)
    yield
    target.kubectl("delete", "--wait=false", *files)


@pytest.fixture
def open_stage(stage: Stage) -> Stage:
    """A namespace as KServe's users have it: its manifests and runtimes say nothing that Pod Security asks for."""
    ensure_namespace(stage.target, stage.namespace, standard="baseline")
    return stage


@pytest.fixture
def cloud(stage: Stage) -> CloudStorage:
    """An emulator that the namespace's default ServiceAccount knows."""
    made = CloudStorage(stage)
    made.start()
    stage.apply(made.credentials("storage"))
    stage.patch("serviceaccount", "default", {"secrets": [{"name": "storage"}]})
    return made


def _iris() -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))


def _joblib(model: object) -> bytes:
    written = io.BytesIO()
    joblib.dump(model, written)
    return written.getvalue()


def _post(stage: Stage, service: str, path: str, body: object) -> Any:  # noqa: ANN401  # JSON
    url = f"http://{service}-predictor.{stage.namespace}.svc.cluster.local/{path}"
    done = stage.client(
        "curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "10",
        "--header", "Content-Type: application/json", "--data-binary", "@-", url, stdin=json.dumps(body), check=False,
    )  # fmt: skip  # option and value read as pairs
    assert done.status == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _with_consent(document: Manifest) -> Manifest:
    """The one line more that a pickle asks for, as the remark on it says."""
    predictor = document["spec"]["predictor"]
    predictor["sklearn" if "sklearn" in predictor else "model"]["allowPickle"] = True
    return document


@pytest.mark.smoke
def test_a_joblib_sample_asks_for_one_line_more_and_answers_its_own_request(stage: Stage, cloud: CloudStorage) -> None:
    model = _iris()
    cloud.put(_JOBLIB, _joblib(model))
    converted = kserve.convert(kserve.sample("v1beta1/sklearn/v1/sklearn.yaml"))
    (document,) = converted.objects
    assert "allowPickle: true" in converted.remarks

    stage.apply(document)
    refused = stage.wait_reason("sklearn-iris", "UnsafeFormat")
    stage.apply(_with_consent(document))
    stage.wait_ready("sklearn-iris")

    assert "allowPickle: true" in refused["message"]
    request = kserve.request("v1beta1/sklearn/v1/iris-input.json")
    assert request["instances"] == ROWS
    answer = _post(stage, "sklearn-iris", "v1/models/sklearn-iris:predict", request)
    assert {"predictions": model.predict(ROWS).tolist()} == answer


@pytest.mark.full
def test_the_samples_of_four_formats_answer_their_own_requests(
    stage: Stage, cloud: CloudStorage, tmp_path: Path
) -> None:
    import lightgbm
    import xgboost
    from skl2onnx import to_onnx

    features, classes = load_iris(return_X_y=True, as_frame=True)
    numbers = features.to_numpy()
    iris = _iris()
    boosted = xgboost.train({"objective": "multi:softprob", "num_class": 3}, xgboost.DMatrix(numbers, classes), 5)
    boosted.save_model(tmp_path / "x.ubj")
    leaves = lightgbm.train(
        {"objective": "multiclass", "num_class": 3, "verbosity": -1}, lightgbm.Dataset(features, classes), 5
    )
    leaves.save_model(tmp_path / "l.txt")
    graph = to_onnx(iris, numbers[:1].astype(np.float32)).SerializeToString()
    # The two libraries' files have the name that KServe's servers look for.
    cloud.put("gs://seldon-models/sklearn/iris/model.joblib", _joblib(iris))
    cloud.put("gs://kfserving-examples/models/xgboost/iris/model.bst", (tmp_path / "x.ubj").read_bytes())
    cloud.put("gs://kfserving-examples/models/lightgbm/iris/model.bst", (tmp_path / "l.txt").read_bytes())
    cloud.put("gs://kfserving-examples/models/onnx/model.onnx", graph)
    names = ("sklearn/v2/sklearn", "xgboost/xgboost", "lightgbm/lightgbm", "onnx/onnx")
    documents = kserve.convert(*(kserve.sample(f"v1beta1/{name}.yaml") for name in names)).objects

    stage.apply(_with_consent(documents[0]), *documents[1:])
    for document in documents:
        stage.wait_ready(document["metadata"]["name"], within=150)

    def infer(service: str, request: object) -> list[Any]:
        found: list[Any] = _post(stage, service, f"v2/models/{service}/infer", request)["outputs"][0]["data"]
        return found

    request = kserve.request("v1beta1/sklearn/v2/iris-input.json")
    assert iris.predict(ROWS).tolist() == infer("sklearn-irisv2", request)
    predicted = infer("xgboost-iris", kserve.request("v1beta1/xgboost/iris-input.json"))
    assert np.allclose(boosted.predict(xgboost.DMatrix(ROWS)).ravel(), predicted, atol=1e-5)
    of_columns = kserve.request("v1beta1/lightgbm/iris-input.json")
    answer = _post(stage, "lightgbm-iris", "v1/models/lightgbm-iris:predict", of_columns)
    (columns,) = of_columns["inputs"]
    row = [columns[name.replace(" ", "_")] for name in features.columns]
    assert np.allclose(leaves.predict(np.array(row).T), answer["predictions"])
    # KServe's ONNX sample is a style transfer; what is asked here is asked of the artifact at its place.
    rows = {"name": "X", "shape": [2, 4], "datatype": "FP32", "data": ROWS}
    assert iris.predict(ROWS).tolist() == infer("style-sample", {"inputs": [rows]})


@pytest.mark.full
def test_the_secrets_of_the_storage_samples_open_a_bucket(stage: Stage, tmp_path: Path) -> None:
    bucket = Bucket(stage, "example-models")
    bucket.start()
    model = _iris()
    bucket.put("sklearn/model.joblib", _joblib(model))
    # Endpoint and keys are what the samples' comments tell to replace.
    secret = kserve.sample("storage/s3/s3_secret.yaml").read_text()
    secret = secret.replace("s3.amazonaws.com", bucket.endpoint.removeprefix("http://"))
    secret = secret.replace('s3-usehttps: "1"', 's3-usehttps: "0"')
    for theirs, ours in (("bWluaW8=", ACCESS_KEY), ("bWluaW8xMjM=", SECRET_KEY)):
        secret = secret.replace(f"{theirs} ", f"{base64.b64encode(ours.encode()).decode()} ")
    common = kserve.sample("storage/storageSpec/common_secret.yaml").read_text()
    for theirs, ours in (
        ("minio123", SECRET_KEY),
        ('"minio"', f'"{ACCESS_KEY}"'),
        ("http://minio-service.kubeflow:9000", bucket.endpoint),
    ):
        common = common.replace(theirs, ours)
    files = {"secret.yaml": secret, "common.yaml": common}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    by_account, by_entry = "by-account", "example-sklearn-isvc"
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": by_account},
        "spec": {"predictor": {"serviceAccountName": "sa", "sklearn": {"storageUri": "s3://example-models/sklearn"}}},
    }
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(service))
    entry = kserve.sample("storage/storageSpec/sklearn_storagespec.yaml")

    *others, first, second = kserve.convert(
        *(tmp_path / name for name in files), tmp_path / "service.yaml", entry
    ).objects
    stage.apply(*others, _with_consent(first), _with_consent(second))

    for name in (by_account, by_entry):
        stage.wait_ready(name)
        answer = _post(stage, name, f"v1/models/{name}:predict", {"instances": ROWS})
        assert {"predictions": model.predict(ROWS).tolist()} == answer


@pytest.mark.full
def test_a_custom_model_of_kserve_s_own_sdk_answers(open_stage: Stage, tmp_path: Path) -> None:
    # The image is one of the same kind; KServe's is in a registry that a test does not reach.
    theirs, _ = yaml.safe_load_all(kserve.sample("v1beta1/custom/custom_model/custom.yaml").read_text())
    theirs["spec"]["predictor"]["containers"][0]["image"] = open_stage.target.image("kserve")
    file = tmp_path / "custom.yaml"
    file.write_text(yaml.safe_dump(theirs))

    open_stage.apply(*kserve.convert(file).objects)
    open_stage.wait_ready("custom-model", within=150)

    answer = _post(open_stage, "custom-model", "v1/models/custom-model:predict", {"instances": [[1, 2], [3, 4]]})
    assert answer == {"predictions": [3, 7]}
    loaded = open_stage.condition("custom-model", "ModelLoaded")
    assert (loaded["status"], loaded["reason"]) == ("Unknown", "NotManaged"), "it is not asked"


@pytest.mark.full
def test_mlserver_serves_by_kserve_s_own_runtime(open_stage: Stage, cloud: CloudStorage, tmp_path: Path) -> None:
    model = _iris()
    cloud.put("gs://seldon-models/sklearn/iris/model.joblib", _joblib(model))
    # KServe's kustomization puts a real image in the place of this one, too.
    text = kserve.runtime("kserve-mlserver").read_text()
    assert "mlserver:replace" in text
    runtime = tmp_path / "runtime.yaml"
    runtime.write_text(text.replace("mlserver:replace", open_stage.target.image("mlserver")))
    converted = kserve.convert(runtime, kserve.sample("v1beta1/sklearn/v2/sklearn.yaml")).objects

    try:
        open_stage.apply(*converted)
        service = open_stage.wait_ready("sklearn-irisv2", within=180)
        request = kserve.request("v1beta1/sklearn/v2/iris-input.json")
        answer = _post(open_stage, "sklearn-irisv2", "v2/models/sklearn-irisv2/infer", request)
    finally:
        # It is the cluster's, and would be chosen for the services of other scenarios.
        open_stage.target.kubectl("delete", "pcrt", "kserve-mlserver", "--ignore-not-found")

    assert service["status"]["runtime"]["name"] == "kserve-mlserver"
    assert model.predict(ROWS).tolist() == answer["outputs"][0]["data"]


@pytest.mark.full
def test_the_clients_of_the_kserve_package_call_unchanged(stage: Stage) -> None:
    stage.apply(
        manifests.config_map("iris", models.iris()),
        manifests.inference_service("iris", "configmap://iris/model.skops"),
        manifests.pod("kserve", stage.target.image("kserve"), ["sleep", "600"]),
    )
    stage.wait_ready("iris")
    stage.target.kubectl(
        "wait", "pod/kserve", f"--namespace={stage.namespace}", "--for=condition=Ready", "--timeout=60s"
    )

    host = f"iris-predictor.{stage.namespace}.svc.cluster.local"
    scope = f"--namespace={stage.namespace}"
    told = stage.target.kubectl("exec", scope, "kserve", "--", "python", "/opt/kserve/call.py", host, "iris")

    assert json.loads(told.splitlines()[-1]) == {
        "v2_ready": True, "v2": [1, 1], "v1": [1, 1], "grpc_ready": True, "grpc": [1, 1]
    }  # fmt: skip


@pytest.mark.full
def test_a_bare_cluster_serves_a_manifest_of_kserve_within_two_minutes(
    release: Release, new_stage: Callable[[str], Stage], report: Report, tmp_path: Path
) -> None:
    stage = new_stage("bare")
    release.uninstall()
    release.delete_definitions()
    stage.apply(manifests.config_map("iris", models.iris()))
    text = kserve.sample("v1beta1/sklearn/v1/sklearn.yaml").read_text()
    file = tmp_path / "kserve.yaml"
    file.write_text(text.replace("gs://kfserving-examples/models/sklearn/1.0/model", "configmap://iris/model.skops"))
    stage.client("true")
    # Images are there before: building them is no part of what a user waits for.
    for image in ("operator", "runtime"):
        release.target.image(image)

    start = time.monotonic()
    installed = release.install()
    stage.apply(*kserve.convert(file).objects)
    stage.wait_ready("sklearn-iris")
    ready = time.monotonic() - start
    answer = _post(stage, "sklearn-iris", "v1/models/sklearn-iris:predict", {"instances": ROWS})
    predicted = time.monotonic() - start

    report.add(
        "from-kserve", seconds_to_installed=round(installed, 1), seconds_to_ready=round(ready, 1),
        seconds_to_first_prediction=round(predicted, 1),
    )  # fmt: skip
    assert answer == {"predictions": [1, 1]}
    assert ready < 120
