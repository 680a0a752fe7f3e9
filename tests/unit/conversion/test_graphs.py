"""KServe's InferenceGraph as ours: what it becomes, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pillion.resources import validate
from pillion.resources.conversion import convert
from pillion.resources.conversion.remarks import Subject

if TYPE_CHECKING:
    from pillion.resources.conversion.remarks import Conversion

GRAPH = """# Which animal is it?
apiVersion: serving.kserve.io/v1alpha1
kind: InferenceGraph
metadata:
  name: animals
  namespace: zoo
spec:
  minReplicas: 2
  timeout: 30
  resources: {requests: {cpu: 100m}}
  nodes:
    root:
      routerType: Sequence
      steps:
        - serviceName: cats-or-dogs
          name: kind
        - serviceName: dogs
          name: breed
          data: $request
          condition: "[@this].#(predictions.0==\\"dog\\")"
          dependency: Hard
        - nodeName: opinions
          data: $response
    opinions:
      routerType: Ensemble
      steps:
        - serviceUrl: http://one.zoo/v1/models/one:predict
        - nodeName: either
    either:
      routerType: Switch
      steps:
        - {serviceName: small, condition: "[@this].#(size<3)"}
        - {nodeName: shares, condition: size}
    shares:
      routerType: Splitter
      steps:
        - {serviceName: large, weight: 80}
        - {serviceName: large, weight: 20}
"""


def converted(text: str) -> Conversion:
    return convert([("graph.yaml", text)])


def test_a_graph_becomes_a_service_whose_runtime_runs_it() -> None:
    conversion = converted(GRAPH)

    assert [] == conversion.refused
    assert [] == validate(conversion.text)
    assert conversion.text.startswith("# Which animal is it?\n")
    (service,) = yaml.safe_load_all(conversion.text)
    assert {"name": "animals", "namespace": "zoo"} == service["metadata"]
    resources = {"requests": {"cpu": "100m"}}
    assert {
        "minReplicas": 2, "timeout": 30, "containers": [{"name": "runtime", "resources": resources}],
    } == service["spec"]["predictor"]  # fmt: skip
    nodes = service["spec"]["graph"]["nodes"]
    assert [
        {"name": "kind", "url": "http://cats-or-dogs-predictor/v1/models/cats-or-dogs:predict"},
        {
            "name": "breed",
            "url": "http://dogs-predictor/v1/models/dogs:predict",
            "when": 'predictions.0 == "dog"',
            "data": "request",
        },
        {"name": "opinions", "node": "opinions"},
    ] == nodes["root"]["steps"]
    assert ["0", "1"] == [step["name"] for step in nodes["opinions"]["steps"]]
    assert ["size < 3", "size != null"] == [step["when"] for step in nodes["either"]["steps"]]
    assert [("large", 80), ("large-2", 20)] == [(step["name"], step["weight"]) for step in nodes["shares"]["steps"]]


def test_what_is_different_is_said_with_its_line() -> None:
    said = [str(remark) for remark in converted(GRAPH).remarks]

    assert any(one.startswith("graph.yaml:5: hint: metadata.name: it becomes an InferenceService") for one in said)
    assert any("spec.nodes.root.steps[0].serviceName: is called by V1's predict" in one for one in said)
    assert any("spec.nodes.root.steps[0]: a step that fails ends the graph" in one for one in said)
    assert not any("steps[1]: a step that fails" in one for one in said)


@pytest.mark.parametrize(
    ("old", "new", "field", "said"),
    [
        ("[@this].#(size<3)", "size|@reverse", "spec.nodes.either.steps[0].condition", "cannot be said here"),
        ("routerType: Splitter", "routerType: Lottery", "spec.nodes.shares.routerType", "is 'Lottery'"),
        ("weight: 20", "weight: 10", "spec.graph.nodes.shares.steps", "add up to 100"),
        ("nodeName: shares", "nodeName: nobody", "spec.graph.nodes", "names a node that there is not"),
        ("nodeName: shares", "nodeName: root", "spec.graph.nodes", "no step names one of the nodes"),
    ],
)
def test_a_graph_that_cannot_run_here_is_refused(old: str, new: str, field: str, said: str) -> None:
    refused = converted(GRAPH.replace(old, new)).refused
    assert any(one.field == field and said in one.text for one in refused), [str(one) for one in refused]


def test_what_a_graph_has_and_nothing_acts_on_is_removed_by_name() -> None:
    text = GRAPH.replace("  timeout: 30\n", "  timeout: 30\n  routerTimeouts: {serverRead: 5}\n")
    removed = [one for one in converted(text).remarks if one.subject is Subject.REMOVED]
    assert ["spec.routerTimeouts"] == [one.field for one in removed]


def test_a_graph_and_a_service_of_one_name_are_refused() -> None:
    service: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "animals", "namespace": "zoo"},
        "spec": {"predictor": {"sklearn": {"storageUri": "s3://a/b"}}},
    }
    refused = converted(f"{GRAPH}---\n{yaml.safe_dump(service)}").refused
    assert ["an InferenceService has the name of the InferenceGraph, which becomes one, too"] == [
        one.text for one in refused
    ]
