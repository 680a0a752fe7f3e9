from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from scripts.chart.later import LATER
from scripts.chart.values import Values, schema

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "pillion"
FORMER = ROOT / "tests" / "integration" / "chart" / "values" / "former.yaml"


def test_values_yaml_holds_the_defaults_of_the_model_and_nothing_else() -> None:
    assert Values().model_dump(by_alias=True) == yaml.safe_load((CHART / "values.yaml").read_text())


def test_every_object_of_the_schema_that_is_ours_refuses_unknown_keys() -> None:
    made = schema()
    definitions = made["$defs"]
    assert isinstance(definitions, dict)
    ours = {"Values": made, **{name: part for name, part in definitions.items() if name != "JsonValue"}}
    open_to_anything = [
        name for name, part in ours.items() if isinstance(part, dict) and part.get("additionalProperties") is not False
    ]

    assert open_to_anything == []


def test_every_value_has_a_description() -> None:
    made = schema()
    definitions = made["$defs"]
    assert isinstance(definitions, dict)
    missing = []
    for name, part in {"Values": made, **definitions}.items():
        assert isinstance(part, dict)
        properties = part.get("properties", {})
        assert isinstance(properties, dict)
        for key, value in properties.items():
            assert isinstance(value, dict)
            if value.keys().isdisjoint({"description", "$ref"}):
                missing.append(f"{name}.{key}")

    assert missing == []


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"replicas": 2}, "replicas"),
        ({"scope": "Cluster"}, "scope"),
        ({"image": {"repository": "x"}}, "image.repository"),
        ({"replicaCount": -1}, "replicaCount"),
        ({"podDisruptionBudget": {"maxUnavailable": "200%"}}, "podDisruptionBudget.maxUnavailable"),
        ({"namespaces": ["Team_A"]}, "namespaces"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(wrong: dict[str, object], where: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Values.model_validate(wrong)

    assert where in {".".join(str(part) for part in error["loc"])[: len(where)] for error in refused.value.errors()}


def _missing(former: dict[str, object], values: dict[str, object], where: str = "") -> set[str]:
    found = set()
    for key, value in values.items():
        if key not in former:
            found.add(f"{where}{key}")
        elif isinstance(value, dict):
            before = former[key]
            assert isinstance(before, dict)
            found |= _missing(before, value, f"{where}{key}.")
    return found


def test_what_the_first_release_had_no_value_for_is_filled_in() -> None:
    missing = _missing(yaml.safe_load(FORMER.read_text()), yaml.safe_load((CHART / "values.yaml").read_text()))

    assert missing == {path for path in LATER if not any(path.startswith(f"{other}.") for other in LATER)}


def test_maps_in_what_came_later_are_filled_in_where_they_hold_a_part() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    later = {name: values[name] for name in LATER if name in values}
    inner = {f"{name}.{key}" for name, part in later.items() for key, value in part.items() if isinstance(value, dict)}
    # Maps in which everything is somebody's choice are taken out by `null`, and read as a whole.
    whole = {"activator.resources", "dashboards.annotations", "dashboards.labels", "namespaceSelector.matchLabels"}

    assert inner - whole <= set(LATER)
