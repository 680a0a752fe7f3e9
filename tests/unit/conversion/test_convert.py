"""Conversion where it is not plain sailing: refusals, texts that are hard to edit, several files, and the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pillion.resources import InferenceServiceSpec, ModelSpec, ServingRuntimeSpec
from pillion.resources.conventions import HONOURED_SECRET_ANNOTATIONS
from pillion.resources.conversion import Subject, convert
from pillion.resources.conversion.addresses import address_of, path_of
from pillion.resources.conversion.remedies import REMEDIES
from pillion.resources.conversion.services import BUILT_IN_FORMATS, BUILT_IN_PRIORITY
from pillion.resources.honoured import NOT_YET
from pillion.resources.honoured_runtime import RUNTIME_NOT_YET
from pillion.resources.nearest import model_at
from pillion_operator.builders.builtin import builtin_runtimes
from pillion_operator.builders.credentials import SecretSummary, credentials_from
from pillion_operator.builders.selection import Candidate, select_runtime
from pillion_operator.state.manifest import key_of, object_at, objects_at
from pillion_operator.state.settings import RenderSettings

if TYPE_CHECKING:
    from pillion.resources.conversion import Conversion

IRIS = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: iris}
spec: {predictor: {onnx: {storageUri: s3://models/iris}}}
"""


def converted(text: str, *more: str) -> Conversion:
    return convert([(f"{number}.yaml", given) for number, given in enumerate((text, *more), 1)])


def only(conversion: Conversion) -> dict[str, Any]:
    (found,) = yaml.safe_load_all(conversion.text)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("version", "kind", "says"),
    [
        ("serving.kserve.io/v1beta1", "TrainedModel", "TrainedModel of v1alpha1 are converted"),
        ("serving.kserve.io/v1alpha1", "ClusterStorageContainer", "storage step"),
        ("serving.kserve.io/v1alpha1", "LocalModelCache", "not cached"),
        ("serving.kserve.io/v1alpha2", "LLMInferenceService", "LLM server"),
        ("serving.kserve.io/v1alpha1", "NeverHeardOf", "InferenceService of v1beta1"),
        ("serving.kserve.io/v1alpha1", "InferenceService", "InferenceService of v1beta1"),
        ("serving.kubeflow.org/v1beta1", "InferenceService", "write apiVersion: serving.kserve.io/v1beta1"),
        ("v1", "", "give it apiVersion and kind"),
    ],
)
def test_a_kind_that_cannot_be_converted_is_refused_by_name_with_the_remedy(version: str, kind: str, says: str) -> None:
    text = yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": {"name": "it"}})

    (remark,) = converted(f"{IRIS}---\n{text}").refused

    assert 5 < remark.line
    assert says in str(remark)
    assert "'it'" in str(remark)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: [", 1, "YAML"),
        (f"{IRIS}---\n- a\n", 6, "no object"),
        (f"{IRIS}---\nkind: a\nkind: b\n", 7, "twice"),
        ("just words", 1, "no object"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    (remark,) = converted(text).refused

    assert line == remark.line
    assert says in remark.text


TRAINED = """\
# what the shop asks
apiVersion: serving.kserve.io/v1alpha1
kind: TrainedModel
metadata: {name: fraud, namespace: shop}
spec:
  inferenceService: iris
  model:
    storageUri: s3://models/fraud
    framework: sklearn
    memory: 512Mi
"""


def test_a_trained_model_becomes_a_model_of_its_service() -> None:
    conversion = converted(TRAINED)

    assert only(conversion) == {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "Model",
        "metadata": {"name": "fraud", "namespace": "shop"},
        "spec": {
            "inferenceServiceRef": {"name": "iris"},
            "storageUri": "s3://models/fraud",
            "modelFormat": {"name": "sklearn"},
        },
    }
    assert conversion.text.startswith("# what the shop asks\n")
    assert [(Subject.HINT, 6), (Subject.REMOVED, 10)] == [(one.subject, one.line) for one in conversion.remarks]


def test_a_trained_model_on_a_volume_is_refused_at_its_line() -> None:
    (remark,) = converted(TRAINED.replace("s3://models", "pvc://models")).refused

    assert "a running pod fetches from s3://" in remark.text


def test_an_object_that_would_be_refused_here_is_refused_now_at_its_line() -> None:
    text = IRIS.replace("name: iris", "name: a-name-that-is-longer-than-the-forty-six-characters-allowed")

    (remark,) = converted(text).refused

    assert (3, "metadata.name") == (remark.line, remark.field)
    assert "longer than 46 characters" in remark.text


def test_an_object_of_pillion_and_one_of_somebody_else_pass_through_word_for_word() -> None:
    text = (
        "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceService # ours\n---\napiVersion: v1\nkind: Pod # x\n"
    )

    conversion = converted(text)

    assert text == conversion.text
    assert [Subject.KEPT, Subject.KEPT] == [remark.subject for remark in conversion.remarks]


def test_several_files_become_documents_of_one() -> None:
    conversion = converted(IRIS, IRIS.replace("iris", "roses"), "---\n" + IRIS.replace("iris", "asters"))

    names = [document["metadata"]["name"] for document in yaml.safe_load_all(conversion.text)]
    assert ["iris", "roses", "asters"] == names


def test_a_runtime_in_another_file_counts() -> None:
    service = IRIS.replace("onnx: {", "model: {modelFormat: {name: tensorflow}, runtimeVersion: v1, ")
    runtime = """\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: mine}
spec:
  supportedModelFormats: [{name: tensorflow, autoSelect: true}]
  containers: [{name: kserve-container, image: "example.com/x:1"}]
"""

    assert [] == list(converted(service, runtime).remarks)
    assert "runtimeVersion: v1" in converted(service, runtime).text
    assert {"removed", "hint"} == {remark.subject for remark in converted(service).remarks}


def test_json_stays_json() -> None:
    text = json.dumps(yaml.safe_load(IRIS) | {"status": {"url": "x"}}, indent=2)

    made = json.loads(converted(text).text)

    assert "serving.pillion.dev/v1beta1" == made["apiVersion"]
    assert "status" not in made


def test_a_document_that_is_not_edited_in_place_is_written_anew_and_that_is_said() -> None:
    text = """\
# kept
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris # lost
  labels: &common {team: ml}
  annotations:
    <<: *common
    serving.kserve.io/stop: "true"
spec: {predictor: {onnx: {storageUri: s3://models/iris}}}
"""

    conversion = converted(text)

    assert conversion.text.startswith("# kept\n")
    assert {"team": "ml", "serving.pillion.dev/stop": "true"} == only(conversion)["metadata"]["annotations"]
    assert ["is written anew; comments inside of it are left out"] == [remark.text for remark in conversion.remarks]


@pytest.mark.parametrize(
    ("predictor", "wanted"),
    [
        ("{onnx: {storageUri: s3://a/b}, bogus: 1}", {"onnx": {"storageUri": "s3://a/b"}}),
        ("{bogus: 1, onnx: {storageUri: s3://a/b}}", {"onnx": {"storageUri": "s3://a/b"}}),
        ("{bogus: 1, onnx: {storageUri: s3://a/b}, other: {a: [b]}}", {"onnx": {"storageUri": "s3://a/b"}}),
        ("{onnx: {storageUri: s3://a/b}, bogus: 1, other: 2}", {"onnx": {"storageUri": "s3://a/b"}}),
        (
            "\n    containers:\n    - bogus: 1\n      name: a\n      image: b\n      other: |\n        x\n\n    # e\n",
            {"containers": [{"name": "a", "image": "b"}]},
        ),
        (
            "\n    containers:\n    - name: a # w\n      lost:\n        - b:\n            c: 1 # d\n\n      image: b\n",
            {"containers": [{"name": "a", "image": "b"}]},
        ),
        ("\n    onnx:\n      storageUri: s3://a/b\n    bogus:\n", {"onnx": {"storageUri": "s3://a/b"}}),
        ("\n    onnx:\n      storageUri: s3://a/b\n    bogus: 'a\n\n      b'", {"onnx": {"storageUri": "s3://a/b"}}),
    ],
)
def test_unknown_fields_go_wherever_they_stand(predictor: str, wanted: dict[str, Any]) -> None:
    head = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\nspec:\n  predictor: "

    conversion = converted(head + predictor)

    assert {"predictor": wanted} == only(conversion)["spec"]
    assert {Subject.REMOVED} == {remark.subject for remark in conversion.remarks}


def test_comments_after_a_removed_block_stay() -> None:
    text = IRIS.replace("spec:", "status:\n  a: 1\n# about the spec\nspec:")

    assert "# about the spec\nspec:" in converted(text).text


def test_of_two_prefixes_of_an_annotation_ours_counts() -> None:
    both = "{name: iris, annotations: {serving.kserve.io/stop: a, serving.pillion.dev/stop: b}}"

    assert {"serving.pillion.dev/stop": "b"} == only(converted(IRIS.replace("{name: iris}", both)))["metadata"][
        "annotations"
    ]


def test_a_logger_carries_over_and_what_has_no_effect_is_named_with_the_remedy() -> None:
    logger = "{url: 'http://dumper.default', mode: all, metadataHeaders: [x-team]%s}"
    manifest = IRIS.replace("{predictor: {", "{predictor: {logger: %s, ") % logger

    whole = converted(manifest % "")
    (remark,) = converted(manifest % ", batchSize: 10").remarks

    assert {"url": "http://dumper.default", "mode": "all", "metadataHeaders": ["x-team"]} == only(whole)["spec"][
        "predictor"
    ]["logger"]
    assert () == tuple(whole.remarks)
    assert (Subject.NO_EFFECT, "spec.predictor.logger.batchSize") == (remark.subject, remark.field)


@pytest.mark.parametrize("address", ["spec.predictor.containers[0].env[1].name", "metadata.annotations[a.b/c-d]", "a"])
def test_an_address_is_the_path_and_back(address: str) -> None:
    assert address == address_of(path_of(address))


def test_a_remedy_is_for_a_field_that_there_is() -> None:
    for address in REMEDIES:
        *parents, name = address.split(".")
        model = model_at(InferenceServiceSpec, tuple(parents))
        assert model is not None
        assert name in {field.alias for field in model.model_fields.values()}


def test_every_field_of_a_runtime_without_effect_exists_and_those_of_services_have_remedies() -> None:
    known = {field.alias for field in ServingRuntimeSpec.model_fields.values()}
    kserves = {address for address in NOT_YET if address.removeprefix("predictor.") in _SHARED_WITH_KSERVE}

    assert set() == RUNTIME_NOT_YET.keys() - known
    assert set() == kserves - REMEDIES.keys()


_SHARED_WITH_KSERVE = {
    "transformer", "explainer", "scaleTarget", "scaleMetric", "scaleMetricType",
    "autoScaling", "logger", "workerSpec",
}  # fmt: skip


def test_the_formats_that_need_no_runtime_are_those_that_the_operator_brings() -> None:
    brought = {
        (supported["name"], supported["priority"], key_of(runtime).name)
        for runtime in builtin_runtimes(RenderSettings())
        for supported in objects_at(runtime, "spec", "supportedModelFormats")
    }

    assert brought == {(name, BUILT_IN_PRIORITY, runtime) for name, runtime in BUILT_IN_FORMATS.items()}


@pytest.mark.parametrize("model_format", ["pytorch", "huggingface"])
def test_arguments_of_kserves_server_do_not_reach_another_server(model_format: str) -> None:
    predictor = {"model": {"modelFormat": {"name": model_format}, "storageUri": "s3://a/b", "args": ["--model_name=x"]}}
    conversion = converted(
        IRIS.replace(
            "{onnx: {storageUri: s3://models/iris}}", yaml.safe_dump(predictor, default_flow_style=True).strip()
        )
    )

    assert {"modelFormat": {"name": model_format}, "storageUri": "s3://a/b"} == only(conversion)["spec"]["predictor"][
        "model"
    ]
    assert any("they are for KServe's server" in str(remark) for remark in conversion.remarks)


@pytest.mark.parametrize("name", sorted(HONOURED_SECRET_ANNOTATIONS))
def test_an_annotation_of_a_secret_that_is_passed_over_in_silence_reaches_the_storage_step(name: str) -> None:
    bare = credentials_from([SecretSummary("s", {"serving.kserve.io/s3-endpoint": "x"}, frozenset())])
    told = {"serving.kserve.io/s3-endpoint": "x", f"serving.kserve.io/{name}": "0"}

    assert bare != credentials_from([SecretSummary("s", told, frozenset())])


@pytest.mark.parametrize(
    ("kind", "name", "supported", "chosen"),
    [
        ("ClusterServingRuntime", "kserve-x", "name: sklearn, autoSelect: true, priority: 2", "theirs"),
        ("ClusterServingRuntime", "kserve-x", "name: sklearn, autoSelect: true, priority: 1", "theirs"),
        ("ClusterServingRuntime", "zebra", "name: sklearn, autoSelect: true, priority: 1", "ours"),
        ("ClusterServingRuntime", "kserve-x", "name: sklearn, autoSelect: true", "ours"),
        ("ClusterServingRuntime", "kserve-x", "name: sklearn, priority: 2", "ours"),
        ("ClusterServingRuntime", "kserve-x", "name: tensorflow, autoSelect: true, priority: 2", "ours"),
        ("ServingRuntime", "zebra", "name: sklearn, autoSelect: true", "theirs"),
    ],
)
def test_a_runtime_that_would_take_services_away_from_ours_is_told(
    kind: str, name: str, supported: str, chosen: str
) -> None:
    text = f"""\
apiVersion: serving.kserve.io/v1alpha1
kind: {kind}
metadata: {{name: {name}}}
spec:
  supportedModelFormats: [{{{supported}}}]
  containers: [{{name: kserve-container, image: x}}]
"""
    remarks = [str(remark) for remark in converted(text).remarks]

    assert (chosen == "theirs") == any("will be chosen for services" in remark for remark in remarks)
    model = ModelSpec.from_manifest({"modelFormat": {"name": "sklearn"}})
    specs = [
        Candidate(
            str(content["kind"]), key_of(content).name, ServingRuntimeSpec.from_manifest(object_at(content, "spec"))
        )
        for content in (only(converted(text)), *builtin_runtimes(RenderSettings()))
    ]
    # The operator's own choice is what the remark is about.
    assert (chosen == "theirs") == (name == select_runtime(model, specs)[0].name)


def test_who_asked_callers_for_tokens_elsewhere_is_told_what_asks_them_here() -> None:
    key = "security.opendatahub.io/enable-auth"
    asking = IRIS.replace("{name: iris}", f'{{name: iris, annotations: {{{key}: "true"}}}}')

    (remark,) = [found for found in converted(asking).remarks if key in found.field]

    assert Subject.NO_EFFECT == remark.subject
    assert "add spec.auth: {serviceAccount: {}}, or everybody who reaches iris-predictor may ask" in remark.remedy


def test_a_key_without_a_value_is_opened_for_what_the_conversion_puts_below_it() -> None:
    text = (Path(__file__).parent / "kserve" / "lightgbm.yaml").read_text().replace("  name: lightgbm-v2-iris\n", "")

    conversion = converted(text)

    assert "metadata:\nspec" in text
    assert {"modelClass": "mlserver_lightgbm.LightGBMModel"} == only(conversion)["metadata"]["labels"]
