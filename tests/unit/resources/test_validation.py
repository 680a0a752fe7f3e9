from __future__ import annotations

import pytest

from pillion.resources import ManifestError, load_manifests, validate
from pillion.resources.inferenceservice import InferenceService

HEAD = "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"


def said(text: str) -> list[str]:
    return [str(problem) for problem in validate(text, source="iris.yaml")]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            "{minReplicas: 2, predictor: {sklearn: {}}}",
            "spec.minReplicas: unknown field; did you mean spec.predictor.minReplicas?",
        ),
        (
            "{predictor: {sklearn: {storageURI: x}}}",
            "spec.predictor.sklearn.storageURI: unknown field; did you mean 'storageUri'?",
        ),
        ("{predictor: {skleran: {}}}", "spec.predictor.skleran: unknown field; did you mean 'sklearn'?"),
        ("{predictor: {quux: {}}}", "spec.predictor.quux: unknown field"),
        (
            "{predictor: {secretName: tls}}",
            "spec.predictor.secretName: unknown field; did you mean spec.predictor.tls.secretName?",
        ),
        (
            '{predictor: {minReplicas: "2", sklearn: {}}}',
            "spec.predictor.minReplicas: must be an integer, not the text '2'; remove the quotes",
        ),
        (
            "{predictor: {sklearn: {args: [--workers, 2]}}}",
            "spec.predictor.sklearn.args[1]: must be a text, not the number 2; put it in quotes",
        ),
        (
            "{predictor: {sklearn: {allowPickle: 'true'}}}",
            "spec.predictor.sklearn.allowPickle: must be true or false, not the text 'true'; remove the quotes",
        ),
        (
            "{predictor: {sklearn: {runtime: true}}}",
            "spec.predictor.sklearn.runtime: must be a text, not true; put it in quotes",
        ),
        ("{predictor: {sklearn: []}}", "spec.predictor.sklearn: must be an object, not a list"),
        ("{predictor: {sklearn: x}}", "spec.predictor.sklearn: must be an object, not the text 'x'"),
        ("{predictor: {containers: {}}}", "spec.predictor.containers: must be a list, not an object"),
        (
            "{predictor: {sklearn: {protocolVersion: V2}}}",
            (
                "spec.predictor.sklearn.protocolVersion: must be one of 'v1', 'v2', 'grpc-v1' or 'grpc-v2'; "
                "did you mean v2?"
            ),
        ),
        (
            "{predictor: {sklearn: {resources: {limits: {cpu: 0.5}}}}}",
            "spec.predictor.sklearn.resources.limits.cpu: must be an integer or a text; put 0.5 in quotes",
        ),
        (
            "{predictor: {sklearn: {resources: {limits: {memory: 5GB}}}}}",
            "spec.predictor.sklearn.resources.limits.memory: '5GB' is no quantity; write for example 500m, 2 or 1.5Gi",
        ),
        (
            "{predictor: {sklearn: {env: [{name: A}, {name: A}]}}}",
            "spec.predictor.sklearn.env: name 'A' stands twice; keep one",
        ),
        ("{predictor: {minReplicas: -1, sklearn: {}}}", "spec.predictor.minReplicas: is -1, and must be at least 0"),
        (
            "{predictor: {canaryTrafficPercent: 200, sklearn: {}}}",
            "spec.predictor.canaryTrafficPercent: is 200, and must be at most 100",
        ),
        ("{predictor: {model: {storageUri: 's3://b/x'}}}", "spec.predictor.model: needs 'modelFormat'"),
        ("{predictor: {model: {modelFormat: {name: ''}}}}", "spec.predictor.model.modelFormat.name: must not be empty"),
        (
            "{predictor: {storageUris: [], model: {modelFormat: {name: x}}}}",
            "spec.predictor.storageUris: must not be empty",
        ),
        (
            f"{{predictor: {{name: {'a' * 41}, sklearn: {{}}}}}}",
            "spec.predictor.name: has 41 characters, and may have 40",
        ),
        ("{predictor: {volumes: [{emptyDir: {}}], sklearn: {}}}", "spec.predictor.volumes[0]: needs 'name', a text"),
        (
            "{predictor: {runtimeClassName: , sklearn: {}}}",
            "spec.predictor.runtimeClassName: has no value; remove the line, or give one",
        ),
        (
            "{predictor: {storageUris: [{uri: 's3://b/x', mountPath: models}], model: {modelFormat: {name: x}}}}",
            "spec.predictor.storageUris[0].mountPath: must match ^/.*",
        ),
        ("{}", "spec: needs 'predictor'"),
    ],
)
def test_a_fault_is_told_with_its_place_and_what_to_do(spec: str, problem: str) -> None:
    assert [f"iris.yaml:4: {problem}"] == said(f"{HEAD}spec: {spec}")


def test_null_inside_one_of_kubernetes_own_types_is_theirs_to_judge() -> None:
    assert [] == said(f"{HEAD}spec: {{predictor: {{sklearn: {{}}, volumes: [{{name: scratch, emptyDir: }}]}}}}")


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (
            "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService",
            (
                "iris.yaml:1: apiVersion: is KServe's; change it to serving.pillion.dev/v1beta1, "
                "or run 'pillion convert -f'"
            ),
        ),
        (
            "apiVersion: serving.pillion.dev/v1\nkind: InferenceService",
            "iris.yaml:1: apiVersion: no such version; write serving.pillion.dev/v1beta1",
        ),
        (
            "apiVersion: serving.pilion.dev/v1beta1\nkind: InferenceService",
            "iris.yaml:1: apiVersion: no such group; did you mean serving.pillion.dev/v1beta1?",
        ),
        (
            "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceServices",
            (
                "iris.yaml:2: kind: no such kind; there are InferenceService, ServingRuntime, ClusterServingRuntime, "
                "Model, TrainingJob, BatchPrediction; did you mean InferenceService?"
            ),
        ),
        ("kind: InferenceService", "iris.yaml:1: needs 'apiVersion', a text"),
        ("apiVersion: v1\nkind: 5", "iris.yaml:2: kind: needs 'kind', a text"),
        ("- a", "iris.yaml:1: a manifest is an object with apiVersion, kind, metadata and spec"),
        ("just text", "iris.yaml:1: a manifest is an object with apiVersion, kind, metadata and spec"),
        ("a: 1\na: 2", "iris.yaml:2: 'a' stands twice; keep one of the two"),
    ],
)
def test_a_document_that_is_no_manifest_of_ours_is_told_why(head: str, problem: str) -> None:
    assert [problem] == said(head)


def test_a_manifest_without_a_name_is_told_so() -> None:
    text = HEAD.replace("{name: iris}", "{labels: {a: b}}") + "spec: {predictor: {sklearn: {}}}"

    assert ["iris.yaml:3: metadata: needs 'name'"] == said(text)


def test_documents_of_other_groups_are_passed_over() -> None:
    assert [] == said("apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n---\napiVersion: apps/v1\nkind: Deployment")


def test_an_object_is_validated_without_lines() -> None:
    head = {"apiVersion": "serving.pillion.dev/v1beta1", "kind": "InferenceService"}

    (problem,) = validate({**head, "metadata": {"name": "iris"}})

    assert (None, "needs 'spec'") == (problem.line, problem.message)


def test_faults_are_told_in_the_order_of_the_file_and_of_every_document() -> None:
    document = f"{HEAD}spec:\n  replicas: 1\n  predictor:\n    sklearn: {{}}\n    tls: {{secret: x}}\n"

    assert [5, 8, 14, 17] == [problem.line for problem in validate(f"{document}---\n{document}")]


def test_loading_returns_typed_objects_with_their_lines_and_others_untyped() -> None:
    other = "apiVersion: v1\nkind: Secret\nmetadata: {name: iris-tls}\n"
    text = f"{other}---\n{HEAD}spec:\n  predictor:\n    sklearn: {{}}\n"

    secret, service = load_manifests(text, source="all.yaml")

    assert (None, "Secret", "iris-tls") == (secret.resource, secret.kind, secret.name)
    assert isinstance(service.resource, InferenceService)
    assert ("InferenceService", "iris", "all.yaml") == (service.kind, service.name, service.source)
    assert 10 == service.line_of("spec", "predictor", "sklearn")


def test_loading_what_is_wrong_raises_every_problem() -> None:
    with pytest.raises(ManifestError) as refused:
        load_manifests(f"{HEAD}spec:\n  replicas: 1\n  predictor: {{pods: 2, sklearn: {{}}}}", source="a.yaml")

    assert ["spec.replicas", "spec.predictor.pods"] == [problem.field for problem in refused.value.problems]
    assert "a.yaml:6: spec.predictor.pods: unknown field" in str(refused.value)


@pytest.mark.parametrize(
    "predictor",
    [
        "{password: hunter2, sklearn: {}}",
        "{sklearn: {env: [{name: A, valu: hunter2}]}}",
        "{sklearn: {env: [{name: A, value: [hunter2]}]}}",
    ],
)
def test_what_may_be_a_secret_is_not_shown(predictor: str) -> None:
    (problem,) = said(f"{HEAD}spec: {{predictor: {predictor}}}")

    assert "hunter2" not in problem


def test_a_number_in_a_variable_is_not_shown_either() -> None:
    (problem,) = said(f"{HEAD}spec: {{predictor: {{sklearn: {{env: [{{name: PIN, value: 4711}}]}}}}}}")

    assert "iris.yaml:4: spec.predictor.sklearn.env[0].value: must be a text, not a number; put it in quotes" == problem
