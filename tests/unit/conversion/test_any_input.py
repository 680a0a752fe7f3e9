"""Whatever is in a file, conversion ends with a text that is valid or with a refusal, and never with a traceback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pillion.resources import validate
from pillion.resources.conversion import convert
from tests.unit.conversion.test_samples import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAMES = (
    "metadata", "name", "labels", "annotations", "spec", "predictor", "model", "sklearn", "onnx", "modelFormat",
    "storageUri", "runtime", "runtimeVersion", "containers", "env", "value", "image", "explainer", "alibi", "art",
    "transformer", "minReplicas", "supportedModelFormats", "status", "items", "serving.kserve.io/stop",
    "serving.pillion.dev/stop", "modelClass", "terminationMessagePolicy", "storage", "path",
    "nodes", "root", "routerType", "steps", "serviceName", "nodeName", "condition", "weight",
)  # fmt: skip
_KINDS = ("InferenceService", "ServingRuntime", "ClusterServingRuntime", "InferenceGraph", "Secret", "List")
_KEYS = st.sampled_from(_NAMES)
_TEXTS = ("iris", "", "s3://a/b.joblib", "{{.Labels.modelClass}}", "kserve-mlserver", "sklearn", "a: b # c")
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.sampled_from(
        ["iris", "", "s3://a/b.joblib", "{{.Labels.modelClass}}", "kserve-mlserver", "sklearn", "a: b # c"]
    ),
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=14
)
_SOUND: dict[str, Any] = {
    "metadata": {"name": "iris"},
    "spec": {"predictor": {"onnx": {"storageUri": "s3://a/b"}}},
}


@st.composite
def objects(draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    """An object of KServe's, sound in part or not at all."""
    kind = draw(
        st.sampled_from(
            ["InferenceService", "ServingRuntime", "ClusterServingRuntime", "InferenceGraph", "Secret", "List"]
        )
    )
    version = "serving.kserve.io/v1beta1" if kind == "InferenceService" else "serving.kserve.io/v1alpha1"
    found: dict[str, Any] = {"apiVersion": version if kind not in {"Secret", "List"} else "v1", "kind": kind}
    found |= _SOUND if draw(st.booleans()) else {}
    for path in draw(st.lists(st.sampled_from(["spec", "metadata", "predictor", "onnx", "items"]), max_size=3)):
        place = found
        for part in {"predictor": ["spec"], "onnx": ["spec", "predictor"]}.get(path, []):
            inner = place.get(part)
            place = inner if isinstance(inner, dict) else place
        new = draw(_VALUES)
        old = place.get(path)
        place[path] = {**old, **new} if isinstance(new, dict) and isinstance(old, dict) else new
    loaded: dict[str, Any] = json.loads(json.dumps(found))
    return loaded


@settings(max_examples=100, deadline=None)
@given(st.lists(objects(), min_size=1, max_size=3), st.sampled_from(["block", "flow", "json"]))
def test_conversion_ends_well_or_with_a_refusal(found: list[dict[str, Any]], style: str) -> None:
    if style == "json":
        text = "\n---\n".join(json.dumps(content, indent=2) for content in found)
    else:
        text = yaml.safe_dump_all(found, default_flow_style=style == "flow", sort_keys=False)

    conversion = convert([("any.yaml", text)])

    if not conversion.refused:
        assert [] == validate(conversion.text)
        assert list(conversion.objects) == [document for document in yaml.safe_load_all(conversion.text) if document]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.sampled_from("+-*>"), st.integers(0, 60)), max_size=4))
def test_a_manifest_with_lines_out_of_place_ends_well_or_with_a_refusal(
    path: Path, changes: list[tuple[str, int]]
) -> None:
    lines = path.read_text().splitlines()
    for change, number in changes:
        index = number % len(lines)
        match change:
            case "-" if len(lines) > 1:
                del lines[index]
            case "+":
                lines.insert(index, lines[-1 - index])
            case "*":
                lines[index] = f"{lines[index]} # {{x"
            case ">":
                lines[index] = f"  {lines[index]}"
    text = "\n".join(lines)

    conversion = convert([("any.yaml", text)])

    if not conversion.refused:
        made = [document for document in yaml.safe_load_all(conversion.text) if document]
        assert list(conversion.objects) == made


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_ends_with_a_result(text: str) -> None:
    convert([("any.yaml", text)])
