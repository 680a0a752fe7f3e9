from __future__ import annotations

from typing import Any

import pytest

from tests.unit.operator.test_builders import SKLEARN, child, planned, pod, runtime_file

IMAGE = "registry.example/shop:1"
OWN: dict[str, Any] = {"containers": [{"name": "runtime", "image": IMAGE}]}
SHOP: dict[str, Any] = {"name": "shop", "importPath": "shop.service:app", "routePrefix": "/shop/"}


def test_applications_and_their_limits_are_told_to_the_runtime_of_the_image() -> None:
    limits = {"maxOngoingRequests": 3, "maxQueuedRequests": 0, "requestTimeoutSeconds": 7}
    http = {"keepAliveTimeoutSeconds": 30, "requestTimeoutSeconds": 20, "rootPath": "/ml"}
    shelf = {"name": "shelf", "importPath": "shelf:Shelf", "routePrefix": "/shelf", "args": {"size": 3}, **limits}

    desired = planned(**OWN, applications=[SHOP, shelf], http=http)

    file = runtime_file(desired)
    code = {"module": "shop.service", "className": "app", "folder": "/app"}
    assert {"name": "shop", "code": code, "routePrefix": "/shop"} == file["applications"][0]
    assert {**limits, "args": {"size": 3}} == {key: file["applications"][1].get(key) for key in (*limits, "args")}
    assert {"keep_alive_timeout": 30, "request_timeout_seconds": 20, "root_path": "/ml"} == file["settings"]["http"]
    assert (IMAGE, ()) == (pod(desired)["containers"][0]["image"], desired.notes)


def test_applications_go_beside_a_model_whose_image_has_their_code() -> None:
    model: dict[str, Any] = {"sklearn": {"storageUri": "s3://models/iris", "image": IMAGE}}

    file = runtime_file(planned(**model, applications=[SHOP]))

    assert (["iris"], ["shop"]) == tuple([one["name"] for one in file[kind]] for kind in ("models", "applications"))


@pytest.mark.parametrize(
    "predictor",
    [
        {},
        SKLEARN,
        {"containers": [{"name": "runtime"}]},
        {"containers": [{"name": "runtime", "image": "registry/pillion-runtime:2"}]},
        {"sklearn": {"storageUri": "s3://models/iris", "runtimeVersion": "sklearn-1.6"}},
    ],
)
def test_applications_without_an_image_that_has_their_code_are_a_problem_with_the_remedy(
    predictor: dict[str, Any],
) -> None:
    problem = planned(**predictor, applications=[SHOP]).problem

    assert problem is not None
    assert ("InvalidSpec", "spec.predictor.applications", False) == (
        problem.reason,
        problem.location,
        problem.transient,
    )
    assert "pillion build" in problem.sentence


@pytest.mark.parametrize(
    ("said", "other"),
    [
        ("applications[1]: routePrefix '/v2/x': /v2 is the runtime's own", {"routePrefix": "/v2/x"}),
        ("applications[1]: applications 'shop' and 'other' have the same routePrefix", {"routePrefix": "/shop"}),
    ],
)
def test_an_application_that_cannot_be_is_named_before_any_pod_is_made(said: str, other: dict[str, Any]) -> None:
    other = {"name": "other", "importPath": "other:app", **other}

    problem = planned(**OWN, applications=[SHOP, other]).problem

    assert problem is not None
    assert said in problem.sentence


def test_a_root_path_that_would_hide_the_runtime_s_own_is_refused_before_any_pod_is_made() -> None:
    problem = planned(**SKLEARN, http={"rootPath": "/v2"}).problem

    assert problem is not None
    assert "spec.predictor.http.rootPath '/v2': the runtime answers /v2 itself" in problem.sentence


def test_a_container_that_is_not_our_runtime_is_said_to_know_nothing_of_applications() -> None:
    mine: dict[str, Any] = {"containers": [{"name": "mine", "image": "a"}]}

    notes = planned(**mine, applications=[SHOP], http={"keepAliveTimeoutSeconds": 5, "rootPath": "/ml"}).notes

    fields = ["applications", "http.keepAliveTimeoutSeconds", "http.rootPath"]
    assert [f"spec.predictor.{field}" for field in fields] == [note.text.partition(" ")[0] for note in notes]


def test_settings_about_applications_have_no_effect_without_any() -> None:
    notes = planned(**SKLEARN, http={"requestTimeoutSeconds": 9, "rootPath": "/ml"}).notes

    assert ["spec.predictor.http.requestTimeoutSeconds without applications"] == [note.text for note in notes]


def test_a_leaving_pod_is_given_the_time_of_the_longest_request_of_an_application() -> None:
    slow = {**SHOP, "requestTimeoutSeconds": 400}

    desired = planned(**OWN, applications=[slow], http={"requestTimeoutSeconds": 300})

    assert 25 + 400 + 5 == pod(desired)["terminationGracePeriodSeconds"]
    assert 400 == runtime_file(desired)["settings"]["drain"]["grace_seconds"]


def pod_annotations(**changed: Any) -> object:
    desired = planned(**OWN, applications=[{**SHOP, **changed}])
    return child(desired, "Deployment")["spec"]["template"]["metadata"]["annotations"]


def test_another_route_rolls_the_pods() -> None:
    assert pod_annotations(routePrefix="/a") != pod_annotations(routePrefix="/b")


def test_another_config_rolls_the_pods_whose_file_never_changes() -> None:
    assert pod_annotations(config={"greeting": "moin"}) != pod_annotations(config={"greeting": "hello"})
    told = runtime_file(planned(**OWN, applications=[{**SHOP, "config": {"greeting": "hello"}}]))
    assert {"greeting": "hello"} == told["applications"][0]["config"]
