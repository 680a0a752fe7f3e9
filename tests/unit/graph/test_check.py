"""What is wrong with a graph, and where."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pillion.graph.check import problems, unknown_models
from pillion.graph.document import Graph
from pillion.resources import validate
from pillion.runtimefile import RuntimeFileError, load


def graph(nodes: dict[str, Any]) -> Graph:
    return msgspec.convert({"nodes": nodes}, Graph)


def node(kind: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": kind, "steps": list(steps), **more}


def test_a_sound_graph_has_no_problem() -> None:
    nodes = {
        "root": node("sequence", {"model": "clean", "task": "clean"}, {"node": "both", "when": "text"}),
        "both": node("ensemble", {"node": "either"}, {"service": "risk.team-b", "model": "trees"}, quorum=1),
        "either": node("switch", {"url": "http://old/score", "when": 'lang == "de"'}, {"model": "new"}),
    }
    assert [] == list(problems(graph(nodes)))


MODEL = {"model": "m", "task": "t"}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ({"start": node("sequence", MODEL)}, "nodes: there is no node 'root'"),
        ({"root": node("sequence")}, "nodes.root.steps: a node has 1 to 16 steps"),
        (
            {
                "root": node("sequence", {"node": "a"}),
                "a": node("sequence", {"node": "b"}),
                "b": node("map", {"node": "a"}),
            },
            "nodes.b.steps[0].node: leads back to where it came from: a -> b -> a",
        ),
        (
            {"root": node("sequence", {"node": "root"})},
            "nodes.root.steps[0].node: leads back to where it came from: root -> root",
        ),
        ({"root": node("sequence", {"node": "x"})}, "nodes.root.steps[0].node: there is no node 'x'; nodes: root"),
        ({"root": node("sequence", MODEL), "lost": node("map", MODEL)}, "nodes.lost: nothing leads here from 'root'"),
        ({"root": node("sequence", {"task": "t"})}, "nodes.root.steps[0]: names what it calls, one of node"),
        ({"root": node("sequence", {"model": "m", "url": "http://x"})}, "names what it calls, one of node"),
        ({"root": node("sequence", {"url": "http://x", "task": "t"})}, "steps[0].task: is for a model or a service"),
        ({"root": node("sequence", {"url": "x"})}, "steps[0].url: 'x' is not http"),
        ({"root": node("sequence", {"service": "Fraud"})}, "steps[0].service: 'Fraud' is neither"),
        (
            {"root": node("splitter", {**MODEL, "weight": 60}, {"url": "http://x", "weight": 30})},
            "add up to 100, not 90",
        ),
        ({"root": node("sequence", {**MODEL, "weight": 100})}, "steps[0].weight: is for a splitter"),
        ({"root": node("switch", MODEL, {"url": "http://x"})}, "steps[0]: needs 'when'"),
        ({"root": node("switch", {**MODEL, "when": "a ="})}, "steps[0].when: 'a =' is no condition"),
        ({"root": node("ensemble", {**MODEL, "when": "a"})}, "steps[0].when: is for a switch or a sequence"),
        ({"root": node("ensemble", {**MODEL, "data": "request"})}, "steps[0].data: is for a sequence"),
        ({"root": node("ensemble", MODEL, quorum=2)}, "nodes.root.quorum: is 2, and there are 1 steps"),
        ({"root": node("sequence", MODEL, quorum=1)}, "nodes.root.quorum: is for an ensemble"),
        ({"root": node("sequence", MODEL, require="first")}, "nodes.root.require: is for an ensemble"),
        ({"root": node("map", MODEL, {"url": "http://x"})}, "nodes.root.steps: a map has one step"),
        ({"root": node("sequence", MODEL, MODEL)}, "steps[1]: two steps are called 'm'"),
    ],
)
def test_what_cannot_run_is_said_with_its_place(nodes: dict[str, Any], said: str) -> None:
    found = [str(problem) for problem in problems(graph(nodes))]
    assert said in found[0]


def test_a_graph_that_multiplies_is_refused() -> None:
    nodes = {
        f"n{n}": node("sequence", {"node": f"n{n + 1}", "name": "a"}, {"node": f"n{n + 1}", "name": "b"})
        for n in range(9)
    }
    whole = {"root": node("sequence", {"node": "n0"}), **nodes, "n9": node("sequence", MODEL)}
    assert ["nodes: with every use of its nodes it has more than 256 steps"] == [str(p) for p in problems(graph(whole))]


def test_models_that_are_not_there_are_named() -> None:
    found = unknown_models(graph({"root": node("sequence", MODEL, {"service": "s", "model": "theirs"})}), {"iris"})
    assert ["nodes.root.steps[0].model: there is no model 'm' here; models: iris"] == [str(one) for one in found]


def test_a_runtime_file_with_a_graph_that_cannot_run_is_refused() -> None:
    text = '{"models": [{"name": "g", "path": "", "graph": {"nodes": {"root": {"type": "map", "steps": []}}}}]}'
    with pytest.raises(RuntimeFileError, match=r"models.0: graph: nodes.root.steps: a node has 1 to 16 steps"):
        load(text, source="runtime.yaml")


def test_the_name_of_a_graph_is_that_of_a_task() -> None:
    nodes = {"root": node("map", {"url": "http://x"})}
    text = json.dumps({"models": [{"name": "a.b", "path": "", "graph": {"nodes": nodes}}]})
    with pytest.raises(RuntimeFileError, match=r"'a\.b' is no name of a graph"):
        load(text, source="runtime.yaml")


@pytest.mark.parametrize(
    ("name", "said"),
    [("iris", "the predictor has a model 'iris' already"), ("a b", "'a b' is no name of a graph"), (None, "")],
)
def test_a_graph_of_a_service_has_a_name_of_its_own(name: str | None, said: str) -> None:
    manifest: dict[str, Any] = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris"},
        "spec": {
            "predictor": {"sklearn": {"storageUri": "s3://a/b"}},
            "graph": {"nodes": {"root": {"type": "sequence", "steps": [{"model": "iris"}]}}},
        },
    }
    if name is not None:
        manifest["spec"]["graph"]["name"] = name
    found = validate(manifest)
    assert [("spec.graph.name", True)] * bool(said) == [(one.field, said in one.message) for one in found]
