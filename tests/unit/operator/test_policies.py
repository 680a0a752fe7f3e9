from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from pillion.policy import ConsentPolicy
from pillion_operator.client.errors import ApiError
from pillion_operator.observe.policies import NamespacePolicies
from pillion_operator.state.kinds import NAMESPACE
from pillion_operator.state.policies import rules_of
from pillion_operator.state.settings import RenderSettings

if TYPE_CHECKING:
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Key, Manifest

LABEL = "serving.pillion.dev/pickle-policy"


@pytest.mark.parametrize(
    ("policy", "said_by", "labels", "installed"),
    [
        ("perObject", "modelPolicy.pickle", {}, "perObject"),
        ("deny", "modelPolicy.pickle", {"team": "a"}, "deny"),
        ("allow", f"{LABEL}=allow of the namespace 'ns'", {LABEL: "allow"}, "deny"),
        ("deny", f"{LABEL}=deny of the namespace 'ns'", {LABEL: "deny"}, "allow"),
        ("deny", "none of deny, perObject, allow", {LABEL: "Never"}, "allow"),
        ("deny", "none of deny, perObject, allow", {LABEL: ""}, "allow"),
        ("perObject", "may not read the labels", None, "allow"),
        ("perObject", "may not read the labels", None, "perObject"),
        ("deny", "may not read the labels", None, "deny"),
    ],
)
def test_a_label_comes_before_the_installation_and_what_cannot_be_read_never_allows(
    policy: str, said_by: str, labels: dict[str, str] | None, installed: str
) -> None:
    rules = rules_of("ns", labels, RenderSettings(pickle_policy=ConsentPolicy(installed)))

    assert policy == rules.pickle.policy
    assert said_by in rules.pickle.said_by


def test_code_has_a_label_and_a_setting_of_its_own() -> None:
    settings = RenderSettings(pickle_policy=ConsentPolicy.ALLOW, code_policy=ConsentPolicy.DENY)

    by_setting = rules_of("ns", {LABEL: "allow"}, settings).code
    by_label = rules_of("ns", {"serving.pillion.dev/code-policy": "perObject"}, settings).code

    assert (ConsentPolicy.DENY, "the operator's setting modelPolicy.code") == (by_setting.policy, by_setting.said_by)
    assert ConsentPolicy.PER_OBJECT == by_label.policy
    assert "the label serving.pillion.dev/code-policy=perObject of the namespace 'ns'" == by_label.said_by


class Namespaces:
    """The one call of the client that is used, with the labels that a namespace has now."""

    def __init__(self) -> None:
        self.labels: dict[str, str] = {}
        self.refusal: ApiError | None = None
        self.asked = 0

    async def get(self, kind: Kind, key: Key) -> Manifest | None:
        assert (NAMESPACE, "") == (kind, key.namespace)
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return {"metadata": {"name": key.name, "labels": {**self.labels}}}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Namespaces:
    return Namespaces()


@pytest.fixture
def changed() -> list[str]:
    return []


@pytest.fixture
def policies(server: Namespaces, changed: list[str]) -> NamespacePolicies:
    client = cast("KubernetesClient", server)
    return NamespacePolicies(client, RenderSettings(), Clock(), changed.append)


async def test_a_burst_of_reconciles_asks_once(policies: NamespacePolicies, server: Namespaces) -> None:
    assert [ConsentPolicy.PER_OBJECT] * 3 == [(await policies.read("ns")).pickle.policy for _ in range(3)]
    assert 1 == server.asked


async def test_a_changed_label_is_told_once(
    policies: NamespacePolicies, server: Namespaces, changed: list[str]
) -> None:
    await policies.read("ns")
    server.labels[LABEL] = "deny"
    await policies.refresh(["ns"])
    await policies.refresh(["ns"])

    assert ["ns"] == changed
    assert (await policies.read("ns")).pickle.denies


async def test_namespaces_without_services_are_not_asked_for(policies: NamespacePolicies, server: Namespaces) -> None:
    await policies.read("ns")
    await policies.refresh([])
    await policies.refresh(["other"])

    assert 1 == server.asked


async def test_a_namespace_that_may_not_be_read_leaves_the_choice_to_each_object(
    policies: NamespacePolicies, server: Namespaces
) -> None:
    server.refusal = ApiError(403, "Forbidden", "no")

    assert ConsentPolicy.PER_OBJECT == (await policies.read("ns")).pickle.policy


async def test_an_api_server_that_fails_decides_nothing(policies: NamespacePolicies, server: Namespaces) -> None:
    server.refusal = ApiError(500, "InternalError", "no")

    with pytest.raises(ApiError):
        await policies.read("ns")
