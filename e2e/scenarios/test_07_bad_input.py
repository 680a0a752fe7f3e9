"""What is wrong is said in the status, with a reason and a remedy; the neighbour in the same namespace goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.harness import manifests, models
from e2e.harness.bucket import Bucket
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.harness.release import Release
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def neighbourhood(new_stage: Callable[[str], Stage], release: Release) -> Stage:
    """A namespace with one InferenceService that is well, a bucket, and credentials for it."""
    stage = new_stage("bad-input")
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("well", "configmap://iris/model.skops"))
    bucket = Bucket(stage, "models")
    bucket.start()
    bucket.put("corrupt/model.skops", models.corrupt_iris().content)
    bucket.put("pickle/model.pkl", models.pickled_iris().content)
    bucket.put("iris/model.skops", models.iris().content)
    stage.apply(*bucket.credentials("store", "model-reader"))
    stage.wait_ready("well")
    return stage


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of the scenario's own, so that no scenario waits for the end of another's pods."""
    return f"bad-{sorted(item.name for item in request.session.items).index(request.node.name)}"


@pytest.fixture
def bad(neighbourhood: Stage, name: str) -> Iterator[Stage]:
    """The namespace; afterwards the neighbour has not noticed anything, and what the scenario made is deleted."""
    before = {(pod["metadata"]["uid"], _restarts(pod)) for pod in neighbourhood.pods("well")}
    yield neighbourhood
    neighbourhood.target.kubectl(
        "delete", "pisvc", name, f"--namespace={neighbourhood.namespace}", "--ignore-not-found", "--wait=false"
    )
    assert neighbourhood.predict("well")["data"] == [0]
    assert before == {(pod["metadata"]["uid"], _restarts(pod)) for pod in neighbourhood.pods("well")}


def test_a_missing_tls_secret_is_named_and_the_service_recovers_when_it_appears(bad: Stage, name: str) -> None:
    bad.apply(manifests.inference_service(name, "configmap://iris/model.skops", tls=f"{name}-tls"))

    condition = bad.wait_reason(name, "SecretNotFound")
    assert f"{name}-tls" in condition["message"]

    bad.issue(name, f"{name}-tls")
    bad.wait_ready(name)
    assert bad.predict(name, scheme="https")["data"] == [0]


def test_a_missing_config_map_is_named_and_the_service_recovers_when_it_appears(bad: Stage, name: str) -> None:
    bad.apply(manifests.inference_service(name, "configmap://later/model.skops"))

    condition = bad.wait_reason(name, "ConfigMapNotFound")
    assert "later" in condition["message"]

    bad.apply(manifests.config_map("later", models.iris()))
    bad.wait_ready(name)


def test_a_missing_bucket_is_said(bad: Stage, name: str) -> None:
    bad.apply(_stored(name, "s3://nowhere/iris/model.skops"))

    assert "nowhere" in bad.wait_reason(name, "BucketNotFound")["message"]


def test_a_missing_key_is_said(bad: Stage, name: str) -> None:
    bad.apply(_stored(name, "s3://models/other/model.skops"))

    assert "other/model.skops" in bad.wait_reason(name, "ObjectNotFound")["message"]


def test_a_wrong_digest_is_refused(bad: Stage, name: str) -> None:
    bad.apply(_stored(name, "s3://models/iris/model.skops", digest=f"sha256:{'0' * 64}"))

    assert models.iris().digest in bad.wait_reason(name, "DigestMismatch")["message"]


def test_a_corrupt_model_is_said_with_the_error_of_its_loading(bad: Stage, name: str) -> None:
    bad.apply(_stored(name, "s3://models/corrupt/model.skops"))

    condition = bad.wait_reason(name, "ModelLoadFailed")

    assert "model.skops" in condition["message"] or "zip" in condition["message"].lower()
    assert bad.condition(name, "ModelLoaded")["status"] == "False"


def test_a_pickle_is_refused_with_the_remedy_and_served_when_it_is_allowed(bad: Stage, name: str) -> None:
    bad.apply(_stored(name, "s3://models/pickle/model.pkl"))

    assert "allowPickle" in bad.wait_reason(name, "UnsafeFormat")["message"]

    bad.patch("pisvc", name, {"spec": {"predictor": {"model": {"allowPickle": True}}}})
    bad.wait_ready(name)
    assert bad.predict(name)["data"] == [0]


def test_a_field_that_is_not_honoured_is_named_and_the_rest_is_served(bad: Stage, name: str) -> None:
    made = manifests.inference_service(name, "configmap://iris/model.skops", storageContainerName="own")
    bad.apply(made)

    status = eventually(
        lambda: (bad.get("pisvc", name) or {}).get("status", {}),
        lambda status: any("ContainerName" in each.get("message", "") for each in status.get("conditions", [])),
        within=60,
        what="a condition names the field",
    )

    named = [condition for condition in status["conditions"] if "ContainerName" in condition.get("message", "")]
    assert {"FieldsNotHonoured"} == {condition["reason"] for condition in named}


def test_a_service_of_that_name_that_is_not_ours_is_left_alone_and_said(bad: Stage, name: str) -> None:
    bad.apply(manifests.service(f"{name}-predictor", 1234))
    before = bad.get("service", f"{name}-predictor")

    bad.apply(manifests.inference_service(name, "configmap://iris/model.skops"))

    assert f"{name}-predictor" in bad.wait_reason(name, "NameConflict")["message"]
    assert before == bad.get("service", f"{name}-predictor")
    bad.delete("service", f"{name}-predictor")
    bad.wait_ready(name)


def test_an_image_that_does_not_exist_is_said(bad: Stage, name: str) -> None:
    model = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "configmap://iris/model.skops",
        "image": "localhost/pillion-e2e/does-not-exist:never",
    }
    bad.apply(manifests.inference_service(name, model=model))

    assert "does-not-exist:never" in bad.wait_reason(name, "ImagePullBackOff")["message"]


def test_a_container_without_enough_memory_is_said_to_be_killed_for_it(bad: Stage, name: str) -> None:
    model = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "configmap://iris/model.skops",
        "resources": {"requests": {"memory": "40Mi"}, "limits": {"memory": "40Mi"}},
    }
    bad.apply(manifests.inference_service(name, model=model))

    assert "memory" in bad.wait_reason(name, "OOMKilled")["message"]


def test_a_pod_that_no_node_can_hold_is_said(bad: Stage, name: str) -> None:
    model = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "configmap://iris/model.skops",
        "resources": {"requests": {"cpu": "1000"}},
    }
    bad.apply(manifests.inference_service(name, model=model))

    assert "cpu" in bad.wait_reason(name, "Unschedulable")["message"].lower()


def test_the_reason_stands_in_kubectl_get(bad: Stage, name: str) -> None:
    bad.apply(_stored(name, "s3://models/other/model.skops"))
    bad.wait_reason(name, "ObjectNotFound")

    row = bad.target.kubectl("get", "pisvc", name, f"--namespace={bad.namespace}", "--no-headers")

    assert {"False", "ObjectNotFound"} <= set(row.split())


@pytest.mark.parametrize(
    ("predictor", "said"),
    [
        ({"minReplicas": 3, "maxReplicas": 1}, "maxReplicas"),
        ({"sklearn": {"storageUri": "s3://a/b"}, "onnx": {"storageUri": "s3://a/b"}}, "one"),
        ({"sklearn": {"storageUri": "s3://a/b", "allowPickel": True}}, "allowPickel"),
        ({"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "ftp://a/b"}}, "storageUri"),
    ],
)
def test_kubectl_apply_refuses_what_cannot_be_meant(
    bad: Stage, name: str, predictor: dict[str, Any], said: str
) -> None:
    made = manifests.inference_service(name, **predictor)
    if "model" not in predictor and "sklearn" not in predictor:
        made["spec"]["predictor"]["sklearn"] = {"storageUri": "s3://a/b"}
    done = bad.target.kubectl.run(
        "apply", f"--namespace={bad.namespace}", "--filename=-", stdin=yaml.safe_dump(made), check=False
    )

    assert done.status != 0
    assert said in done.stderr


def _stored(name: str, uri: str, **model: object) -> manifests.Manifest:
    return manifests.inference_service(
        name,
        model={"modelFormat": {"name": "sklearn"}, "storageUri": uri, **model},
        serviceAccountName="model-reader",
    )


def _restarts(pod: manifests.Manifest) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))
