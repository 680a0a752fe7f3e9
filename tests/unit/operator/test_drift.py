from __future__ import annotations

from typing import Any

import pytest

from pillion_operator.apply.drift import differences, foreign_entries, leftovers, show, without
from pillion_operator.apply.scale import given_up, replicas_to_set
from pillion_operator.state.names import FIELD_MANAGER, SCALE_MANAGER
from pillion_operator.state.plan import ReplicaBounds

RUNTIME = 'k:{"name":"runtime"}'


def deployment(**container: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "runtime", **container}]}}}}


def entry(manager: str, spec: dict[str, Any], *, operation: str = "Update", subresource: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": spec}}
    return found | ({"subresource": subresource} if subresource else {})


def managed(live: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    return live | {"metadata": {"managedFields": list(entries)}}


def containers(fields: dict[str, Any]) -> dict[str, Any]:
    return {"f:template": {"f:spec": {"f:containers": fields}}}


def test_values_that_the_server_adds_are_no_difference() -> None:
    live = deployment(image="a", terminationMessagePath="/dev/termination-log", resources={})

    assert [] == differences(deployment(image="a"), live)


def test_a_changed_value_is_found_with_its_address() -> None:
    found = differences(deployment(image="a"), deployment(image="b"))

    assert ["spec.template.spec.containers[runtime].image"] == [show(path) for path in found]


def test_items_are_compared_by_their_key_not_their_place() -> None:
    wanted = deployment(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    live = deployment(env=[{"name": "B", "value": "2"}, {"name": "A", "value": "1"}])

    assert [] == differences(wanted, live)


def test_a_missing_item_is_found() -> None:
    wanted = deployment(env=[{"name": "A", "value": "1"}])

    assert len(differences(wanted, deployment())) == 1


@pytest.mark.parametrize(("ours", "theirs"), [("0.5", "500m"), ("1000m", "1"), (1, "1"), ("1024Mi", "1Gi")])
def test_equal_quantities_are_no_difference(ours: Any, theirs: str) -> None:
    wanted, live = ({"resources": {"requests": {"cpu": value}}} for value in (ours, theirs))

    assert [] == differences(deployment(**wanted), deployment(**live))


def test_different_quantities_are_a_difference() -> None:
    wanted, live = ({"resources": {"requests": {"cpu": value}}} for value in ("500m", "501m"))

    assert len(differences(deployment(**wanted), deployment(**live))) == 1


def test_an_empty_value_that_the_server_left_out_is_no_difference() -> None:
    wanted = deployment(env=[{"name": "A", "value": ""}], volumeMounts=[])

    assert [] == differences(wanted, deployment(env=[{"name": "A"}]))


def test_an_ordered_list_of_another_length_is_a_difference() -> None:
    assert len(differences(deployment(args=["a"]), deployment(args=["a", "b"]))) == 1


def test_what_we_own_and_no_longer_want_is_left_over() -> None:
    owned = containers({RUNTIME: {".": {}, "f:name": {}, "f:image": {}, "f:env": {'k:{"name":"OLD"}': {".": {}}}}})
    live = managed(deployment(image="a", env=[{"name": "OLD"}]), entry(FIELD_MANAGER, owned, operation="Apply"))

    found = leftovers(deployment(image="a"), live)

    assert ["spec.template.spec.containers[runtime].env[OLD]"] == [show(path) for path in found]


def test_nothing_is_left_over_of_what_we_want() -> None:
    owned = containers({RUNTIME: {".": {}, "f:name": {}, "f:image": {}}})
    live = managed(deployment(image="a"), entry(FIELD_MANAGER, owned, operation="Apply"))

    assert [] == leftovers(deployment(image="a"), live)


def test_an_entry_of_another_manager_is_found_and_taken_out() -> None:
    added = containers({RUNTIME: {"f:env": {".": {}, 'k:{"name":"DEBUG"}': {".": {}, "f:name": {}, "f:value": {}}}}})
    live = managed(deployment(image="a", env=[{"name": "DEBUG", "value": "1"}]), entry("editor", added))

    found = foreign_entries(deployment(image="a"), live)
    cleaned: dict[str, Any] = without(live, found)

    assert found
    assert "env" not in cleaned["spec"]["template"]["spec"]["containers"][0]


def test_only_the_added_item_goes_from_a_list_that_is_ours_too() -> None:
    wanted = deployment(env=[{"name": "OURS", "value": "1"}])
    added = containers({RUNTIME: {"f:env": {'k:{"name":"DEBUG"}': {".": {}, "f:name": {}}}}})
    live = managed(deployment(env=[{"name": "OURS", "value": "1"}, {"name": "DEBUG"}]), entry("editor", added))

    cleaned: dict[str, Any] = without(live, foreign_entries(wanted, live))

    assert [{"name": "OURS", "value": "1"}] == cleaned["spec"]["template"]["spec"]["containers"][0]["env"]


@pytest.mark.parametrize(
    "allowed",
    [
        entry("hpa", {"f:replicas": {}}, subresource="scale"),
        entry("editor", {"f:replicas": {}}),
        entry(
            "kubectl-rollout",
            {"f:template": {"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}},
        ),
        entry("kube-controller-manager", {"f:replicas": {}}, subresource="status"),
    ],
)
def test_what_others_may_have_is_left_alone(allowed: dict[str, Any]) -> None:
    live = managed(deployment(image="a"), allowed)
    live["spec"]["replicas"] = 5
    live["spec"]["template"]["metadata"] = {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}

    assert [] == foreign_entries(deployment(image="a"), live)


def counted(count: int, *entries: dict[str, Any]) -> dict[str, Any]:
    return managed({"spec": {"replicas": count}}, *entries)


OURS = entry(SCALE_MANAGER, {"f:replicas": {}}, operation="Apply", subresource="scale")
HPA = entry("hpa", {"f:replicas": {}}, subresource="scale")
EDITED = entry("editor", {"f:replicas": {}})


@pytest.mark.parametrize(
    ("expected", "bounds", "live"),
    [
        (None, ReplicaBounds(1, None), counted(1)),
        (3, ReplicaBounds(3, None), counted(1)),
        (None, ReplicaBounds(1, None), counted(4)),
        (None, ReplicaBounds(1, None), counted(4, HPA)),
        (1, ReplicaBounds(1, None), counted(4, OURS)),
        (1, ReplicaBounds(1, None), counted(4, EDITED)),
        (3, ReplicaBounds(1, 3), counted(4, HPA)),
        (2, ReplicaBounds(2, 2), counted(1, HPA)),
        (0, ReplicaBounds(0, 0), counted(4, HPA)),
        (None, ReplicaBounds(0, 0), counted(0, OURS)),
        (None, ReplicaBounds(2, 9, autoscaled=True), counted(5, OURS)),
        (None, ReplicaBounds(2, 9, autoscaled=True), counted(5, EDITED)),
        (2, ReplicaBounds(2, 9, autoscaled=True), counted(0, OURS)),
        (9, ReplicaBounds(2, 9, autoscaled=True), counted(20, HPA)),
    ],
)
def test_the_count_is_ours_only_where_nobody_scaled_it(
    expected: int | None, bounds: ReplicaBounds, live: dict[str, Any]
) -> None:
    assert expected == replicas_to_set(bounds, live)


@pytest.mark.parametrize("owner", [OURS, EDITED])
def test_a_count_that_is_given_up_keeps_its_value_and_is_nobodys(owner: dict[str, Any]) -> None:
    given: Any = given_up(counted(5, HPA, owner))

    assert 5 == given["spec"]["replicas"]
    assert [HPA] == given["metadata"]["managedFields"]
    assert given_up(given) is None


def test_giving_the_count_up_leaves_an_owner_what_else_it_owns() -> None:
    other = entry("editor", {"f:replicas": {}, "f:paused": {}})

    given: Any = given_up(counted(5, other))

    assert [entry("editor", {"f:paused": {}})] == given["metadata"]["managedFields"]


@pytest.mark.parametrize("live", [counted(5), counted(5, HPA)])
def test_a_count_that_is_a_scalers_already_costs_no_write(live: dict[str, Any]) -> None:
    assert given_up(live) is None


@pytest.mark.parametrize(("same", "wanted", "live"), [(True, "0.5", "500m"), (False, "1", "2")])
def test_the_target_of_an_autoscaler_is_a_quantity(same: bool, wanted: str, live: str) -> None:  # noqa: FBT001 - a case of the table
    def autoscaler(value: str) -> dict[str, Any]:
        return {"spec": {"metrics": [{"resource": {"target": {"averageValue": value}}}]}}

    assert same == (differences(autoscaler(wanted), autoscaler(live)) == [])


def test_what_another_manager_added_to_a_map_with_one_owner_is_found_and_taken_out() -> None:
    wanted: dict[str, Any] = {"spec": {"selector": {"app": "iris"}, "type": "ClusterIP"}}
    live: dict[str, Any] = {"spec": {"selector": {"app": "iris", "edited": "by-hand"}, "type": "ClusterIP"}}
    live = managed(live, entry("kubectl-patch", {"f:selector": {}}))

    found = foreign_entries(wanted, live)

    assert [("spec", "selector", "edited")] == found
    assert wanted["spec"] == without(live, found)["spec"]


def test_a_default_in_an_object_that_another_manager_set_empty_is_not_theirs() -> None:
    wanted: dict[str, Any] = {"spec": {"securityContext": {"runAsNonRoot": True}}}
    live: dict[str, Any] = {"spec": {"securityContext": {"runAsNonRoot": True, "defaulted": "value"}}}
    live = managed(live, entry("kubectl-patch", {"f:securityContext": {}}))

    assert [] == foreign_entries(wanted, live)


def test_what_we_no_longer_want_in_a_map_that_is_owned_as_a_whole_is_found() -> None:
    wanted: dict[str, Any] = {"spec": {"selector": {"app": "iris"}}}
    live: dict[str, Any] = {"spec": {"selector": {"app": "iris", "variant": "stable"}}}
    live = managed(live, entry(FIELD_MANAGER, {"f:selector": {}}, operation="Apply"))

    assert [("spec", "selector", "variant")] == leftovers(wanted, live)
    assert [] == leftovers(live, live)


@pytest.mark.parametrize(
    ("field", "wanted", "default"),
    [
        ("fieldRef", {"fieldPath": "metadata.name"}, {"apiVersion": "v1"}),
        ("resourceFieldRef", {"resource": "limits.memory"}, {"divisor": "0"}),
    ],
)
def test_a_default_in_a_field_selector_is_nobodys(field: str, wanted: dict[str, Any], default: dict[str, Any]) -> None:
    def template(selector: dict[str, Any]) -> dict[str, Any]:
        return {"spec": {"env": [{"name": "SELF", "valueFrom": {field: selector}}]}}

    fields: dict[str, Any] = {
        "f:env": {'k:{"name":"SELF"}': {".": {}, "f:name": {}, "f:valueFrom": {f"f:{field}": {}}}}
    }
    live = template(wanted | default)

    assert [] == leftovers(template(wanted), managed(live, entry(FIELD_MANAGER, fields, operation="Apply")))
    assert [] == foreign_entries(template(wanted), managed(live, entry("kubectl-edit", fields)))


@pytest.mark.parametrize(
    ("added", "changed"),
    [
        (("matchLabels", "nobody"), {"matchLabels": {"app": "iris", "nobody": "has"}}),
        (("matchExpressions",), {"matchLabels": {"app": "iris"}, "matchExpressions": [{"key": "nobody"}]}),
    ],
)
def test_what_somebody_adds_to_a_selector_of_labels_is_found(added: tuple[str, ...], changed: dict[str, Any]) -> None:
    wanted: dict[str, Any] = {"spec": {"podSelector": {"matchLabels": {"app": "iris"}}}}
    live = managed({"spec": {"podSelector": changed}}, entry("kubectl-edit", {"f:podSelector": {}}))

    found = foreign_entries(wanted, live)

    assert [("spec", "podSelector", *added)] == found
    assert wanted["spec"] == without(live, found)["spec"]
