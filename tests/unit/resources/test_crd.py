from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pillion.resources.crd import KINDS, SIZE_LIMIT, Kind, crd_yaml, custom_resource_definition
from pillion.resources.reference import PAGES, reference_page

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

ROOT = Path(__file__).resolve().parents[3]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def version_of(kind: Kind) -> JsonObject:
    spec = cast("JsonObject", custom_resource_definition(kind)["spec"])
    return cast("list[JsonObject]", spec["versions"])[0]


@every_kind
def test_a_definition_is_small_enough_for_plain_apply(kind: Kind) -> None:
    assert SIZE_LIMIT >= len(json.dumps(custom_resource_definition(kind), separators=(",", ":")).encode())


@every_kind
def test_the_committed_definition_is_what_the_models_say(kind: Kind) -> None:
    assert crd_yaml(kind) == (ROOT / "crds" / f"{kind.crd_name}.yaml").read_text(), "run 'make generate'"


def test_there_is_no_definition_of_a_kind_that_is_no_more() -> None:
    assert {f"{kind.crd_name}.yaml" for kind in KINDS} == {path.name for path in (ROOT / "crds").iterdir()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_the_committed_reference_page_is_what_the_models_say(page: object) -> None:
    chosen = next(candidate for candidate in PAGES if candidate is page)

    assert reference_page(chosen) == (ROOT / "docs" / "reference" / chosen.file).read_text(), "run 'make generate'"


@every_kind
def test_status_is_a_subresource_and_scale_is_none(kind: Kind) -> None:
    assert {"status": {}} == version_of(kind)["subresources"]


def test_short_names_are_ours_and_every_kind_is_in_the_category() -> None:
    names = {
        kind.name: cast("JsonObject", cast("JsonObject", custom_resource_definition(kind)["spec"])["names"])
        for kind in KINDS
    }

    assert {
        "InferenceService": ["pisvc"],
        "ServingRuntime": ["prt"],
        "ClusterServingRuntime": ["pcrt"],
        "Model": ["pmodel"],
        "TrainingJob": ["ptrain"],
        "BatchPrediction": ["pbatch"],
    } == {kind: name["shortNames"] for kind, name in names.items()}
    assert [["pillion"]] * len(KINDS) == [name["categories"] for name in names.values()]


def test_the_columns_of_an_inference_service_are_those_that_people_look_for() -> None:
    columns = cast("list[JsonObject]", version_of(KINDS[0])["additionalPrinterColumns"])

    assert ["URL", "Ready", "Replicas", "Canary", "Model", "Reason", "Age"] == [
        column["name"] for column in columns if "priority" not in column
    ]


def test_no_default_is_written_into_what_authors_write() -> None:
    schemas = [cast("JsonObject", version_of(kind)["schema"])["openAPIV3Schema"] for kind in KINDS]
    specs = [cast("JsonObject", cast("JsonObject", schema)["properties"])["spec"] for schema in schemas]

    assert '"default":' not in json.dumps(specs)


def test_an_object_that_no_operator_has_seen_says_so() -> None:
    schema = cast("JsonObject", cast("JsonObject", version_of(KINDS[0])["schema"])["openAPIV3Schema"])
    status = cast("JsonObject", cast("JsonObject", schema["properties"])["status"])

    assert {"observedGeneration": -1} == status["default"]
    assert 1 == json.dumps(schema).count('"default":')
