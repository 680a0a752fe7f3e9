from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from scripts.chart.values import Values, schema

CHART = Path(__file__).parents[3] / "charts" / "pillion"


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
