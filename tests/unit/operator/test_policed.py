"""A roll-back does not let pods load what the platform's policies deny by now."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from pillion.policy import ConsentPolicy
from pillion.resources import InferenceService
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.kept import revision_manifest
from pillion_operator.builders.policed import Policed, policed
from pillion_operator.builders.predictor import plan
from pillion_operator.state.policies import ConsentRule, NamespaceRules
from tests.unit.operator.test_builders import SETTINGS, builtin, runtime_file, service
from tests.unit.operator.test_guards import KEYS, NEWEST, RollBack

ALLOW, ASK, DENY = ConsentPolicy.ALLOW, ConsentPolicy.PER_OBJECT, ConsentPolicy.DENY
PICKLE: dict[str, Any] = {"sklearn": {"storageUri": "pvc://models/iris", "allowPickle": True}}
SILENT: dict[str, Any] = {"sklearn": {"storageUri": "pvc://models/iris"}}
CLASS: dict[str, Any] = {
    "model": {"modelFormat": {"name": "python"}, "storageUri": "pvc://models/iris", "trustCode": True}
}
NOBODYS: dict[str, Any] = {"containers": [{"name": "predictor", "image": "somebodys:1"}]}
DENIES = NamespaceRules(pickle=ConsentRule(DENY, "a label"))


def rules(pickle: ConsentPolicy = ASK, code: ConsentPolicy = ASK) -> NamespaceRules:
    return NamespaceRules(ConsentRule(pickle, "a label"), ConsentRule(code, "a label"))


def kept(predictor: dict[str, Any], then: NamespaceRules) -> dict[str, Any]:
    """What is kept of a version that was rolled out under other rules."""
    manifest: dict[str, Any] = service(**predictor).to_api()
    found = InferenceService.from_api(manifest)
    desired = plan(found, "uid-1", builtin(), StorageCredentials(), SETTINGS, frozenset(), then)
    revision = revision_manifest(cast("Any", manifest), desired, 1, {})
    data: dict[str, Any] = cast("Any", revision["data"])
    return data


@pytest.mark.parametrize(
    ("predictor", "then", "now", "refused"),
    [
        (PICKLE, rules(), rules(pickle=DENY), "pickle (the pickle policy is 'deny', by a label)"),
        (SILENT, rules(pickle=ALLOW), rules(pickle=DENY), "pickle (the pickle policy is 'deny', by a label)"),
        (
            SILENT,
            rules(pickle=ALLOW),
            rules(),
            "pickle (the pickle policy is 'perObject', by a label, and that revision does not say allowPickle)",
        ),
        (CLASS, rules(), rules(code=DENY), "code (the code policy is 'deny', by a label)"),
    ],
)
def test_what_is_denied_now_is_not_permitted_as_it_was_then(
    predictor: dict[str, Any], then: NamespaceRules, now: NamespaceRules, refused: str
) -> None:
    before = kept(predictor, then)
    found = policed(cast("Any", before), now)

    assert (refused,) == found.refused
    config = str(found.data["config"])
    assert "allowPickle" not in config
    assert "trustCode" not in config
    assert before["template"]["metadata"] != cast("Any", found.data)["template"]["metadata"], "the pods are new ones"
    assert before["template"]["spec"] == cast("Any", found.data)["template"]["spec"]
    assert not policed(found.data, now).refused


@pytest.mark.parametrize(
    ("predictor", "then", "now"),
    [
        (PICKLE, rules(pickle=ALLOW), rules()),
        (PICKLE, rules(), rules(code=DENY)),
        (SILENT, rules(), rules(pickle=DENY)),
        (SILENT, rules(), rules(pickle=ALLOW)),
        (CLASS, rules(), rules(pickle=DENY)),
        (CLASS, rules(), rules(code=ALLOW)),
        (NOBODYS, rules(), rules(DENY, DENY)),
    ],
)
def test_what_is_permitted_by_now_or_never_was_leaves_the_pods_as_they_are(
    predictor: dict[str, Any], then: NamespaceRules, now: NamespaceRules
) -> None:
    before = cast("Any", kept(predictor, then))
    assert Policed(before) == policed(before, now)


def test_a_configuration_of_a_later_release_permits_nothing_that_is_denied_either() -> None:
    before = cast("Any", kept(PICKLE, rules()))
    later = before | {"config": json.dumps(json.loads(before["config"]) | {"later": {"a": 1}})}
    found = policed(later, DENIES)

    assert ("pickle (the pickle policy is 'deny', by a label)",) == found.refused
    document = json.loads(str(found.data["config"]))
    assert {"a": 1} == document["later"]
    assert [("deny", None)] == [(one["picklePolicy"], one.get("allowPickle")) for one in document["models"]]
    assert not policed(found.data, DENIES).refused
    assert Policed(later) == policed(later, rules())
    assert Policed(before | {"config": "- no: mapping"}) == policed(before | {"config": "- no: mapping"}, DENIES)


def test_pods_of_a_roll_back_are_refused_it_and_the_condition_says_so() -> None:
    back = RollBack((PICKLE, None), (NEWEST, KEYS), rules=DENIES)

    (model,) = runtime_file(back.plan)["models"]
    assert ("deny", None) == (model["picklePolicy"], model.get("allowPickle"))
    assert {"api-keys"} == back.mounted
    assert "; its new pods load no pickle (the pickle policy is 'deny', by a label)" in back.said()


def test_a_share_for_another_version_keeps_no_pickle_for_the_rest() -> None:
    share = {**NEWEST, "canaryTrafficPercent": 20}
    first = RollBack((PICKLE, None), (share, None), failed=False, rules=DENIES)

    (model,) = runtime_file(first.plan)["models"]
    assert "allowPickle" not in model
    (note,) = (note.text for note in first.plan.notes if "pickle" in note.text)
    assert note.startswith("pickle (the pickle policy is 'deny', by a label): new pods of the last good revision")
