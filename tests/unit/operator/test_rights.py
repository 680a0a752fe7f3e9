"""Which rights lack by the API server's word, and of which of them a service is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pillion_operator.builders.rights import lacking, told_of_rights
from pillion_operator.rbac import Rule, manifests, used_rules
from pillion_operator.state.kinds import HTTP_ROUTE, INGRESS, OPTIONAL
from pillion_operator.state.plan import Child, Desired, Endpoints, ReplicaBounds

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest

NEEDED = (Rule("apps", "deployments", ("get", "patch")), Rule("apps", "deployments/scale", ("patch",)))


def review(*rules: Any, incomplete: bool = False) -> Manifest:
    return {"status": {"incomplete": incomplete, "resourceRules": list(rules)}}


def granted(groups: list[str], resources: list[str], verbs: list[str], **more: Any) -> Any:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs, **more}


@pytest.mark.parametrize(
    ("expected", "rules"),
    [
        ([], [granted(["*"], ["*"], ["*"])]),
        ([], [granted(["apps"], ["deployments"], ["get", "patch"]), granted(["apps"], ["*/scale"], ["patch"])]),
        (
            ["patch deployments.apps/scale"],
            [granted(["apps"], ["deployments"], ["get"]), granted(["apps"], ["deployments"], ["patch"])],
        ),
        (
            ["patch deployments.apps", "patch deployments.apps/scale"],
            [
                granted(["apps", "batch"], ["deployments"], ["get"]),
                granted(["batch"], ["deployments", "deployments/scale"], ["patch"]),
                granted(["apps"], ["deployments"], ["patch"], resourceNames=["other"]),
            ],
        ),
    ],
)
def test_a_verb_lacks_that_no_rule_grants_for_every_name(expected: list[str], rules: list[Any]) -> None:
    assert expected == [str(one) for one in lacking(NEEDED, review(*rules))]


@pytest.mark.parametrize("answer", [review(incomplete=True), {}])
def test_nothing_lacks_for_certain_where_the_api_server_does_not_know_all(answer: Manifest) -> None:
    assert () == lacking(NEEDED, answer)


def test_the_charts_own_rules_lack_nothing() -> None:
    found: list[Any] = [
        rule
        for role in manifests(service_account="a", operator_namespace="b")
        for rule in role.get("rules", ())  # type: ignore[union-attr]  # a list in a Role
    ]

    assert () == lacking(used_rules(OPTIONAL, cluster=True), review(*found))


def test_kinds_that_the_cluster_lacks_need_no_rights() -> None:
    resources = {rule.resource for rule in used_rules((), cluster=False)}

    optional = {"ingresses", "httproutes", "gateways", "servicemonitors", "certificates"}
    assert set() == resources & {*optional, "clusterservingruntimes"}
    assert {"httproutes", "gateways"} <= {rule.resource for rule in used_rules((HTTP_ROUTE,), cluster=False)}
    assert optional <= {rule.resource for rule in used_rules(OPTIONAL, cluster=False)}


def test_a_service_is_told_of_what_it_uses() -> None:
    desired = Desired((), ReplicaBounds(1, None), Endpoints("http://iris", ""))
    lacks = lacking((*NEEDED[1:], Rule("networking.k8s.io", "ingresses", ("create",))), review())

    alone = told_of_rights(desired, lacks)
    routed = told_of_rights(replace(desired, children=(Child(INGRESS, {}),)), lacks)

    assert ["the operator may not patch deployments.apps/scale here"] == [note.text for note in alone.notes]
    assert ["the operator may not patch deployments.apps/scale, create ingresses.networking.k8s.io here"] == [
        note.text for note in routed.notes
    ]
    assert desired == told_of_rights(desired, ())
