from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from pillion.resources import InferenceServiceSpec, ObjectMeta, unhonoured_annotations, unhonoured_fields
from pillion.resources.conventions import annotation, is_stopped
from pillion.resources.honoured import HONOURED, NOT_YET, classified
from pillion.resources.schema import StructuralSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.resources.base import JsonObject


def leaves(schema: JsonObject, above: str = "") -> Iterator[str]:
    for name, field in cast("dict[str, JsonObject]", schema.get("properties", {})).items():
        inner = cast("JsonObject", field.get("items", field))
        address = f"{above}.{name}".removeprefix(".")
        if inner.get("properties"):
            yield from leaves(inner, address)
        else:
            yield address


SCHEMA = cast("JsonObject", InferenceServiceSpec.model_json_schema(by_alias=True, schema_generator=StructuralSchema))
LEAVES = list(leaves(SCHEMA))


def test_every_field_of_the_spec_is_either_honoured_or_named_as_not_yet() -> None:
    assert [] == [leaf for leaf in LEAVES if classified(leaf) is None]


def test_no_entry_of_the_tables_is_about_a_field_that_does_not_exist() -> None:
    known = {".".join(leaf.split(".")[:length]) for leaf in LEAVES for length in range(1, 9)}

    assert set() == (HONOURED | NOT_YET) - known


def test_no_field_is_in_both_tables() -> None:
    assert set() == HONOURED & NOT_YET


def fields(spec: JsonObject) -> list[str]:
    return [str(field) for field in unhonoured_fields(InferenceServiceSpec.from_manifest(spec))]


@pytest.mark.parametrize(
    "predictor",
    [
        {"sklearn": {"storageUri": "configmap://iris", "allowPickle": True, "args": ["-v"]}},
        {"onnx": {"storageUri": "s3://b/x", "env": [{"name": "A", "value": "1"}], "runtime": "own"}},
        {"model": {"modelFormat": {"name": "sklearn"}, "storage": {"key": "k", "path": "p", "parameters": {"a": "b"}}}},
        {"containers": [{"name": "own", "image": "x"}], "nodeSelector": {"a": "b"}, "volumes": [{"name": "v"}]},
        {"sklearn": {}, "minReplicas": 3, "maxReplicas": 3, "timeout": 5, "containerConcurrency": 2},
        {"sklearn": {}, "minReplicas": 3, "maxReplicas": 0},
        {"sklearn": {}, "execution": {"executor": "process", "processes": 2}},
        {"sklearn": {}, "maxReplicas": 9, "scaleTarget": 50, "autoScaling": {"behavior": {"scaleUp": {}}}},
        {"sklearn": {}, "tls": {"secretName": "a", "clientCASecretName": "b", "mode": "mutual", "selfSigned": False}},
        {"sklearn": {}, "drain": {"windowSeconds": 5}, "metrics": {"enabled": True}, "jobs": {"enabled": False}},
        {"sklearn": {}, "serviceAccountName": "a", "jobs": {"enabled": True, "output": {"uri": "s3://models/trained"}}},
        {"sklearn": {}, "storage": {"volume": {"sizeLimit": "1Gi"}, "resources": {"limits": {"cpu": 1}}}},
        {"sklearn": {"storageUri": "/mnt/models/x"}},
        {"models": [{"name": "a", "modelFormat": {"name": "onnx"}, "storageUri": "pvc://c/a", "version": "2"}]},
        {"applications": [{"name": "a", "importPath": "a:b"}], "http": {"rootPath": "/a", "requestTimeoutSeconds": 3}},
    ],
)
def test_what_is_honoured_is_not_named(predictor: JsonObject) -> None:
    assert [] == fields({"predictor": predictor})


@pytest.mark.parametrize(
    ("predictor", "named"),
    [
        ({"sklearn": {}, "storageContainerName": "own"}, "spec.predictor.storageContainerName"),
        ({"sklearn": {"storage": {"schemaPath": "x"}}}, "spec.predictor.sklearn.storage.schemaPath"),
        ({"sklearn": {}, "workerSpec": {"pipelineParallelSize": 2}}, "spec.predictor.workerSpec"),
        (
            {"models": [{"name": "a", "modelFormat": {"name": "onnx"}, "storage": {"key": "k", "schemaPath": "x"}}]},
            "spec.predictor.models[a].storage.schemaPath",
        ),
        (
            {"models": [{"name": "a", "modelFormat": {"name": "onnx"}, "storageUri": "hdfs://b/a"}]},
            "spec.predictor.models[a].storageUri (hdfs is not available yet)",
        ),
        (
            {"onnx": {"storageUri": "oci+native://a/b"}},
            "spec.predictor.onnx.storageUri (oci+native is not available yet)",
        ),
        (
            {"model": {"modelFormat": {"name": "x"}, "storageUri": "webhdfs://a/1"}},
            "spec.predictor.model.storageUri (webhdfs is not available yet)",
        ),
    ],
)
def test_what_is_set_and_has_no_effect_is_named(predictor: JsonObject, named: str) -> None:
    assert [named] == fields({"predictor": predictor})


def test_several_are_named_in_the_order_of_the_schema() -> None:
    component: JsonObject = {"containers": [{"name": "own"}], "storageContainerName": "own", "minReplicas": 2}
    spec: JsonObject = {
        "explainer": component,
        "transformer": component,
        "predictor": {"sklearn": {}, "management": {"enabled": True}},
    }

    both = [f"spec.{one}.storageContainerName" for one in ("transformer", "explainer")]
    assert ["spec.predictor.management", *both] == fields(spec)


def test_what_a_component_beside_the_predictor_has_is_looked_at_as_the_predictor_s_own() -> None:
    logger: JsonObject = {"url": "http://sink", "batchSize": 5}
    metrics: JsonObject = {"metrics": [{"type": "External", "external": {}}]}
    component: JsonObject = {"containers": [{"name": "own"}], "logger": logger, "maxReplicas": 3}

    found = fields({"predictor": {"sklearn": {}}, "transformer": {**component, "autoScaling": metrics}})

    assert "spec.transformer.logger.batchSize" == found[0]
    assert found[1].startswith("spec.transformer.maxReplicas (")
    assert found[2].startswith("spec.transformer.autoScaling.metrics[0] (")


def test_an_explainer_that_has_no_image_here_is_named_with_what_to_do() -> None:
    spec: JsonObject = {"predictor": {"sklearn": {}}, "explainer": {"art": {"type": "SquareAttack"}, "minReplicas": 0}}

    assert ["spec.explainer.art (there is no image of it: name one in containers)"] == fields(spec)


def test_who_asked_callers_for_tokens_elsewhere_is_told_of_the_field_that_does() -> None:
    key = "security.opendatahub.io/enable-auth"
    told = [f"metadata.annotations[{key}] (say in spec.auth who may ask)"]

    assert told == [str(field) for field in unhonoured_annotations(ObjectMeta(annotations={key: "true"}))]
    assert [] == unhonoured_annotations(ObjectMeta(annotations={key: "false"}))


def test_an_annotation_is_read_under_our_prefix_before_kserves() -> None:
    both = ObjectMeta(annotations={"serving.kserve.io/stop": "true", "serving.pillion.dev/stop": "false"})
    theirs = ObjectMeta(annotations={"serving.kserve.io/stop": "True"})

    assert "false" == annotation(both, "stop")
    assert not is_stopped(both)
    assert is_stopped(theirs)
    assert not is_stopped(ObjectMeta())


def test_annotations_and_labels_that_mean_something_elsewhere_are_named() -> None:
    metadata = ObjectMeta(
        labels={"app": "iris", "networking.knative.dev/visibility": "cluster-local"},
        annotations={
            "example.com/own": "1",
            "serving.kserve.io/deploymentMode": "RawDeployment",
            "serving.kserve.io/autoscalerClass": "keda",
            "serving.pillion.dev/autoscalerClass": "hpa",
            "serving.kserve.io/enable-prometheus-scraping": "true",
            "serving.kserve.io/gke-accelerator": "t4",
            "autoscaling.knative.dev/target": "5",
        },
    )

    assert [
        "metadata.annotations[serving.kserve.io/autoscalerClass] (it is hpa, none or external)",
        "metadata.annotations[serving.kserve.io/gke-accelerator]",
        "metadata.annotations[autoscaling.knative.dev/target] (there is no Knative here)",
        "metadata.labels[networking.knative.dev/visibility] (there is no Knative here)",
    ] == [str(field) for field in unhonoured_annotations(metadata)]


def test_the_consent_to_what_models_bring_has_its_effect_as_an_annotation_of_ours_alone() -> None:
    ours, theirs = "serving.pillion.dev/models-consent", "serving.kserve.io/models-consent"
    metadata = ObjectMeta(annotations={ours: "pickle", theirs: "pickle"}, labels={ours: "pickle"})

    assert [f"metadata.annotations[{theirs}]", f"metadata.labels[{ours}]"] == [
        str(field) for field in unhonoured_annotations(metadata)
    ]


def test_a_mode_of_deployment_that_is_not_available_is_named() -> None:
    metadata = ObjectMeta(annotations={"serving.kserve.io/deploymentMode": "Serverless"})

    assert ["metadata.annotations[serving.kserve.io/deploymentMode] (the mode is always Standard)"] == [
        str(field) for field in unhonoured_annotations(metadata)
    ]
