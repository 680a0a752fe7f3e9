"""What manifests of KServe's users say to the storage step and to serving runtimes: variables, a user, placeholders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.bucket import ACCESS_KEY, SECRET_KEY, Bucket

if TYPE_CHECKING:
    from e2e.harness.manifests import Manifest
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_USER = 12345


def _storage_step(pod: Manifest) -> Manifest:
    found: Manifest = next(each for each in pod["spec"]["initContainers"] if each["name"] == "storage")
    return found


def _in_runtime(stage: Stage, pod: Manifest, code: str) -> str:
    scope = (f"--namespace={stage.namespace}", "--container=runtime")
    return stage.target.kubectl("exec", pod["metadata"]["name"], *scope, "--", "python", "-c", code).strip()


def test_variables_of_the_model_lead_the_storage_step_to_a_bucket_that_nothing_else_names(stage: Stage) -> None:
    bucket = Bucket(stage, "models")
    bucket.start()
    bucket.put("iris/model.skops", models.iris().content)
    stage.apply(manifests.secret("keys", {"id": ACCESS_KEY, "secret": SECRET_KEY}))
    of_secret = {name: {"secretKeyRef": {"name": "keys", "key": key}} for name, key in (
        ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"),
    )}  # fmt: skip  # a pair a line
    env: list[Manifest] = [{"name": name, "valueFrom": source} for name, source in of_secret.items()]
    env += [{"name": "AWS_ENDPOINT_URL", "value": bucket.endpoint}, {"name": "GREETING", "value": "hello"}]
    model: dict[str, Any] = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris/model.skops"}
    stage.apply(manifests.inference_service("silent", model=model))
    stage.apply(manifests.inference_service("iris", model={**model, "env": env}))

    stage.wait_ready("iris")

    assert stage.predict("iris")["data"] == [0]
    (pod,) = stage.pods("iris")
    named = {variable["name"] for variable in _storage_step(pod)["env"]}
    assert {*of_secret, "AWS_ENDPOINT_URL"} <= named
    assert "GREETING" not in named, "what is not about storage is the runtime's alone"
    assert _in_runtime(stage, pod, "import os; print(os.environ['GREETING'])") == "hello"
    # The same manifest without them does not find the bucket: the variables are what leads there.
    assert stage.condition("silent")["status"] == "False"


def test_the_storage_step_runs_as_the_user_that_kserve_s_annotation_names(stage: Stage) -> None:
    service = manifests.inference_service("iris", "configmap://iris/model.skops")
    service["metadata"]["annotations"] = {"serving.kserve.io/storage-initializer-uid": str(_USER)}
    stage.apply(manifests.config_map("iris", models.iris()), service)

    stage.wait_ready("iris")

    assert stage.predict("iris")["data"] == [0]
    (pod,) = stage.pods("iris")
    assert _storage_step(pod)["securityContext"]["runAsUser"] == _USER
    owner = _in_runtime(stage, pod, "import os; print(os.stat('/mnt/models/model.skops').st_uid, os.getuid())")
    written_by, read_by = owner.split()
    assert (str(_USER), False) == (written_by, written_by == read_by)


def test_files_of_several_places_lie_each_at_its_path(stage: Stage) -> None:
    words = manifests.config_map("words", text={"words.txt": "setosa"})
    stage.apply(manifests.config_map("iris", models.iris()), words)
    service = manifests.inference_service("iris", model={"modelFormat": {"name": "sklearn"}})
    service["spec"]["predictor"]["storageUris"] = [
        {"uri": "configmap://iris/model.skops"},
        {"uri": "configmap://words", "mountPath": "/data/words"},
    ]
    stage.apply(service)

    stage.wait_ready("iris")

    assert stage.predict("iris")["data"] == [0]
    (pod,) = stage.pods("iris")
    assert _in_runtime(stage, pod, "print(open('/data/words/words.txt').read())") == "setosa"


def test_a_placeholder_without_a_value_is_named_until_its_label_is_there(stage: Stage) -> None:
    runtime = {
        "apiVersion": manifests.API_VERSION,
        "kind": "ServingRuntime",
        "metadata": {"name": "labelled"},
        "spec": {
            "supportedModelFormats": [{"name": "sklearn"}],
            "containers": [
                {
                    "name": "runtime",
                    "image": stage.target.image("runtime"),
                    "command": ["python", "-m", "pillion.server"],
                    "args": ["--config", "/etc/pillion/runtime.yaml"],
                    "env": [{"name": "TEAM", "value": "{{.Labels.team}} of {{.Namespace}}"}],
                }
            ],
        },
    }
    model = {"modelFormat": {"name": "sklearn"}, "runtime": "labelled", "storageUri": "configmap://iris/model.skops"}
    stage.apply(manifests.config_map("iris", models.iris()), runtime, manifests.inference_service("iris", model=model))

    refused = stage.wait_reason("iris", "PlaceholderUnfilled")
    assert "{{.Labels.team}}" in refused["message"]
    assert "give the InferenceService the label 'team'" in refused["message"]
    assert stage.condition("iris", "Stalled")["status"] == "True"
    assert stage.pods("iris") == []

    labels = {"metadata": {"labels": {"team": "vision"}}}
    stage.patch("pisvc", "iris", labels)
    stage.wait_ready("iris")

    (pod,) = stage.pods("iris")
    said = _in_runtime(stage, pod, "import json, os; print(json.dumps(os.environ['TEAM']))")
    assert json.loads(said) == f"vision of {stage.namespace}"
