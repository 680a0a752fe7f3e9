"""Which Models a service takes, and what is said of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pillion.modelsfile import MOST_MODELS, DeclaredModel, dump
from pillion.policy import ConsentPolicy
from pillion_operator.builders.declared import Declarations, declaration_id, declarations, given_up
from pillion_operator.judge.model import InPod, ModelFacts, in_pods, model_status, next_look
from pillion_operator.report.events import model_happenings
from pillion_operator.state.declared import reports_of
from pillion_operator.state.manifest import Key, condition_of
from pillion_operator.state.names import MODELS_CONSENT_ANNOTATION
from pillion_operator.state.policies import ConsentRule, ModelsConsent, NamespaceRules, consent_of
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.state.plan import Problem

DIGESTS = [f"sha256:{digit * 64}" for digit in "01"]


def model(name: str = "fraud", /, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "Model",
        "metadata": {
            "name": name, "namespace": "a", "uid": f"uid-{name}", "generation": 3, "creationTimestamp": created,
        },
        "spec": {"inferenceServiceRef": {"name": "iris"}, "storageUri": "s3://models/m.onnx"} | spec,
    }  # fmt: skip


BOTH = ModelsConsent(pickle=True, code=True)


def taken(*models: dict[str, Any], consent: ModelsConsent = BOTH, **rules: ConsentRule) -> Declarations:
    return declarations("iris", models, NamespaceRules(**rules), consent)


def refusal(found: Declarations, name: str) -> Problem:
    return found.refused[Key("a", name)]


def test_a_declaration_is_known_by_object_and_generation_and_served_as_that_version() -> None:
    (declared,) = taken(model(modelFormat={"name": "onnx"}, digest=DIGESTS[0])).models

    assert (declared.id, declared.version, declared.name) == ("uid-fraud/3", "3", "fraud")
    assert declared.id == declaration_id(model())
    assert ("onnx", DIGESTS[0], False) == (declared.format, declared.digest, declared.allow_pickle)


def test_models_of_other_services_and_those_that_are_being_deleted_are_passed_over() -> None:
    leaving = model("leaving")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"

    found = taken(model("other", inferenceServiceRef={"name": "else"}), leaving)

    assert ((), {}, "") == (found.models, dict(found.refused), found.digest)


def test_the_older_has_the_name_whatever_the_order_and_of_one_moment_the_first_by_name() -> None:
    younger, older = model("a", "2026-01-02T00:00:00Z", name="x"), model("b", "2026-01-01T00:00:00Z", name="x")

    assert "'b' and 'a'" in refusal(taken(younger, older), "a").text
    assert "'b' and 'a'" in refusal(taken(older, younger), "a").text
    assert "'a' and 'b'" in refusal(taken(model("b", name="x"), model("a", name="x")), "b").text


@pytest.mark.parametrize(
    ("spec", "reason", "said"),
    [
        ({"name": "iris"}, Reason.NAME_CONFLICT, "the InferenceService's own model"),
        ({"storageUri": "pvc://claim/m"}, Reason.INVALID_SPEC, "a running pod fetches"),
        ({"storageUri": f"https://h/m?digest={DIGESTS[0]}#{DIGESTS[0]}", "digest": DIGESTS[1]}, None, ""),
        ({"modelFormat": {"name": "python"}}, Reason.UNTRUSTED_CODE, "unless trustCode is true"),
    ],
)
def test_what_cannot_be_taken_says_why_and_lasts(spec: dict[str, Any], reason: Reason | None, said: str) -> None:
    found = taken(model(**spec))
    if reason is None:
        assert len(found.models) + len(found.refused) == 1
        return
    problem = refusal(found, "fraud")

    assert (reason, False, True) == (problem.reason, problem.transient, said in problem.text)
    assert () == found.models


def test_policies_of_the_namespace_hold_for_models() -> None:
    deny = ConsentRule(ConsentPolicy.DENY, "the label x")
    (pickled,) = taken(model(allowPickle=True)).models
    (denied,) = taken(model(allowPickle=True), pickle=deny).models
    (trusted,) = taken(model(modelFormat={"name": "python"}, trustCode=True)).models

    assert (True, False, ConsentPolicy.DENY) == (pickled.allow_pickle, denied.allow_pickle, denied.pickle_policy)
    assert trusted.trust_code
    refused = refusal(taken(model(modelFormat={"name": "python"}, trustCode=True), code=deny), "fraud")
    assert "by the label x" in refused.text


PICKLED = {"allowPickle": True}
CLASS = {"modelFormat": {"name": "python"}, "trustCode": True}


@pytest.mark.parametrize(
    ("spec", "others", "reason", "word"),
    [
        (PICKLED, ModelsConsent(code=True), Reason.UNSAFE_FORMAT, "pickle"),
        (CLASS, ModelsConsent(pickle=True), Reason.UNTRUSTED_CODE, "code"),
    ],
)
def test_a_models_own_word_lets_no_code_into_a_services_pods(
    spec: dict[str, Any], others: ModelsConsent, reason: Reason, word: str
) -> None:
    for consent in (ModelsConsent(), others):
        problem = refusal(taken(model(**spec), consent=consent), "fraud")

        assert (reason, False) == (problem.reason, problem.transient)
        assert "the InferenceService 'iris' does not let Models bring" in problem.sentence
        assert f"put '{word}' into its annotation {MODELS_CONSENT_ANNOTATION}" in problem.sentence
    # The platform's word for the whole namespace needs nobody else's.
    allow = ConsentRule(ConsentPolicy.ALLOW, "the label x")
    (found,) = taken(model(**spec), consent=ModelsConsent(), pickle=allow, code=allow).models
    assert found.allow_pickle
    assert found.trust_code == ("trustCode" in spec)


def test_a_services_word_alone_is_nobodys_wish() -> None:
    (plain,) = taken(model()).models

    assert (False, False) == (plain.allow_pickle, plain.trust_code)
    assert Reason.UNTRUSTED_CODE == refusal(taken(model(modelFormat={"name": "python"})), "fraud").reason


@pytest.mark.parametrize(
    ("said", "consent"),
    [
        (None, ModelsConsent()),
        ("", ModelsConsent()),
        ("code, pickle", BOTH),
        ("pickle", ModelsConsent(pickle=True)),
        ("Code,all", ModelsConsent(unknown=("Code", "all"))),
    ],
)
def test_a_services_consent_is_what_its_annotation_says_and_nothing_else(
    said: str | None, consent: ModelsConsent
) -> None:
    assert consent == consent_of({} if said is None else {MODELS_CONSENT_ANNOTATION: said})


def test_one_more_than_a_file_holds_is_refused() -> None:
    found = taken(*(model(f"m{number:03}") for number in range(MOST_MODELS + 1)))

    assert MOST_MODELS == len(found.models)
    assert Reason.TOO_MANY_MODELS == refusal(found, f"m{MOST_MODELS:03}").reason


def status(*pods: InPod, wanted: int = 2, problem: Problem | None = None) -> dict[str, Any]:
    return dict(model_status(ModelFacts(model(), "fraud", "", problem, wanted, pods), "2026-01-03T00:00:00Z"))


def said(found: dict[str, Any]) -> tuple[str, str, str, str]:
    states = [condition_of({"status": found}, kind) for kind in ("Ready", "Reconciling", "Stalled")]
    ready, reconciling, stalled = (str(state["status"]) for state in states)
    return ready, reconciling, stalled, str(states[0]["reason"])


UP, SLOW = InPod("p1", "Ready", digest="d"), InPod("p2", "Fetching")
BROKEN = InPod("p2", "Failed", "DigestMismatch", "another digest; give the new one", lasting=True)
AWAY = InPod("p3", "Unknown", Reason.POD_NOT_REACHED, "no answer")


@pytest.mark.parametrize(
    ("pods", "wanted", "expected"),
    [
        ((UP, UP), 2, ("True", "False", "False", "Served")),
        ((UP, SLOW), 2, ("False", "True", "False", "Progressing")),
        ((UP,), 2, ("False", "True", "False", "Progressing")),
        ((), 0, ("False", "False", "False", "Stopped")),
        ((UP, BROKEN), 2, ("False", "False", "True", "DigestMismatch")),
        ((UP, InPod("p2", "Failed", "DownloadFailed", "later")), 2, ("False", "True", "False", "DownloadFailed")),
        ((UP, AWAY), 2, ("False", "True", "False", "PodNotReached")),
        # A pod too many that is not reached, as in a rollout, is no reason to doubt.
        ((UP, UP, AWAY), 2, ("True", "False", "False", "Served")),
    ],
)
def test_pods_become_conditions(pods: tuple[InPod, ...], wanted: int, expected: tuple[str, str, str, str]) -> None:
    assert expected == said(status(*pods, wanted=wanted))


def test_the_status_counts_and_lists_pods() -> None:
    found = status(UP, BROKEN)

    assert {"loaded": 1, "wanted": 2, "summary": "1/2"} == found["replicas"]
    assert ["p1", "p2"] == [pod["name"] for pod in found["pods"]]
    message = str(condition_of({"status": found}, "Ready")["message"])
    assert "Not served in pod p2: another digest; give the new one." == message


def test_of_more_pods_than_a_status_holds_those_that_matter_are_kept() -> None:
    reports = [reports_of(f"p{number:03}", {"declared": []}) for number in range(150)]
    answer = {"declared": [{"id": "x", "name": "m", "state": "Failed", "reason": "no", "cause": "TooLarge"}]}

    found = status(*in_pods("x", [*reports, reports_of("p999", answer)]))

    assert 100 == len(found["pods"])
    assert "p999" in {pod["name"] for pod in found["pods"]}


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (None, "Unknown", "PodNotReached"),
        ({"models": []}, "Failed", "RuntimeNotSupported"),
        ({"declared": []}, "Pending", "Progressing"),
        ({"declared": [], "declaredError": "models.json: no"}, "Failed", "RuntimeNotSupported"),
        ({"declared": [{"id": "older", "state": "Ready"}]}, "Pending", "Progressing"),
        ({"declared": [{"id": "x", "state": "Ready", "digest": "d"}]}, "Ready", ""),
        ({"declared": [{"id": "x", "state": "Dancing"}]}, "Pending", "Progressing"),
        ({"declared": "nonsense"}, "Pending", "Progressing"),
        ({"declared": [{"id": "x", "state": "Failed", "cause": "a b" * 900}]}, "Failed", "ModelLoadFailed"),
    ],
)
def test_what_a_pod_answers_is_read_with_care(answer: object, state: str, reason: str) -> None:
    (found,) = in_pods("x", [reports_of("p", answer)])

    assert (state, reason) == (found.state, found.reason)


def test_pods_are_asked_often_while_something_moves_and_seldom_after() -> None:
    def look(*pods: InPod) -> float:
        return next_look(ModelFacts(model(), "fraud", "", None, 2, pods))

    assert look(UP, SLOW) < look(UP, BROKEN) < look(UP, UP)


def config(*names: str) -> dict[str, Any]:
    models = tuple(DeclaredModel(id=name, name=name, version="1", uri="s3://m/x") for name in names)
    return {"data": {"models.json": dump(models)}}


def test_what_pods_are_to_give_up_is_what_they_were_told_of_before() -> None:
    assert ("a", "c") == given_up(config("c", "b", "a"), config("b", "d"))
    assert ("a",) == given_up(config("a"), None)
    assert () == given_up(None, config("a"))
    assert () == given_up({"data": {"models.json": "no such file"}}, None)


def test_what_happens_to_a_model_is_told_once() -> None:
    def told(before: dict[str, Any], *pods: InPod) -> list[tuple[str, bool]]:
        found = model_happenings(model() | {"status": before}, status(*pods))
        return [(happening.reason, happening.warning) for happening in found]

    assert [] == told({}, UP, SLOW)
    assert [("Served", False)] == told(status(UP, SLOW), UP, UP)
    assert [] == told(status(UP, UP), UP, UP)
    assert [("DigestMismatch", True)] == told(status(UP, UP), UP, BROKEN)
    assert [] == told(status(UP, BROKEN), BROKEN, BROKEN)
    assert "Served as 'fraud' by 2 pods." == model_happenings(model(), status(UP, UP))[0].message
