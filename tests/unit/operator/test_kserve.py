"""KServe mode: whose an object is, what stands for it, and how its status reads. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pillion.resources import validate
from pillion.resources.conversion import convert
from pillion_operator.builders.kserve_child import child_of, is_as_applied, stands_for
from pillion_operator.judge.kserve import FAILURES, mirrored_status, refused_status
from pillion_operator.report.events import kserve_happenings
from pillion_operator.state.kserve import KServeScope, claim_of

Object = dict[str, Any]
ROOT = Path(__file__).parents[3]
SAMPLES = sorted(p for p in (ROOT / "tests/unit/conversion/kserve").glob("*.yaml") if ".converted" not in p.name)
NOW, BEFORE = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
MANAGED, MODE = "serving.pillion.dev/managed", "serving.kserve.io/deploymentMode"
MODEL: Object = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris"}


def theirs(spec: Object | None = None, status: Object | None = None, **metadata: Any) -> Object:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"namespace": "shop", "name": "iris", "uid": "u-1", "generation": 3, **metadata},
        "spec": spec or {"predictor": {"model": MODEL}},
        "status": status or {},
    }


def ours(*conditions: tuple[str, str, str], observed: int = 2, **status: Any) -> Object:
    told = [
        {"type": kind, "status": value, "reason": reason, "message": f"{kind} says.", "lastTransitionTime": BEFORE}
        for kind, value, reason in conditions
    ]
    metadata = {"namespace": "shop", "name": "iris", "generation": 2}
    return {"metadata": metadata, "status": {"observedGeneration": observed, "conditions": told, **status}}


def mirrored(child: Object, service: Object | None = None, removed: tuple[str, ...] = ()) -> Object:
    found: Any = mirrored_status(service or theirs(), child, removed, NOW)
    assert isinstance(found, dict)
    return found


def condition(status: Object, kind: str) -> Object:
    return next((c for c in status["conditions"] if c["type"] == kind), {})


READY = (("Ready", "True", "Loaded"), ("PredictorReady", "True", "Ready"), ("RoutesReady", "True", "ServiceApplied"))


@pytest.mark.parametrize(
    ("scope", "controller", "labels", "annotations", "is_ours"),
    [
        ("labelled", False, {}, {}, False),
        ("labelled", False, {MANAGED: "true"}, {}, True),
        ("labelled", True, {MANAGED: "true"}, {}, False),
        ("labelled", True, {MANAGED: "true"}, {MODE: "ModelMesh"}, True),
        ("labelled", True, {}, {MODE: "ModelMesh"}, False),
        ("all", False, {}, {}, True),
        ("all", False, {MANAGED: "false"}, {}, False),
        ("all", True, {}, {}, False),
        ("all", True, {}, {MODE: "ModelMesh"}, False),
    ],
)
def test_an_object_is_ours_only_where_no_other_controller_works_on_it(
    *, scope: str, controller: bool, labels: Object, annotations: Object, is_ours: bool
) -> None:
    service = theirs(labels=labels, annotations=annotations)

    assert is_ours == claim_of(service, KServeScope(scope), controller=controller).ours


@pytest.mark.parametrize("controller", [True, False])
def test_what_kserves_controller_has_taken_is_given_up_and_the_author_told_why(*, controller: bool) -> None:
    service = theirs(labels={MANAGED: "true"}, finalizers=["inferenceservice.finalizers"])

    claim = claim_of(service, KServeScope.ALL, controller=controller)

    assert (False, True) == (claim.ours, claim.given_up)
    assert "inferenceservice.finalizers" in claim.why


def test_what_is_asked_for_beside_kserves_controller_stays_until_that_takes_it() -> None:
    claim = claim_of(theirs(labels={MANAGED: "true"}), KServeScope.LABELLED, controller=True)

    assert (False, False) == (claim.ours, claim.given_up)
    assert "deploymentMode: ModelMesh" in claim.why


def test_an_object_whose_label_was_taken_away_is_given_up_without_a_word() -> None:
    claim = claim_of(theirs(), KServeScope.LABELLED, controller=False)

    assert (True, "") == (claim.given_up, claim.why)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_child_has_the_spec_that_pillion_convert_prints(path: Path) -> None:
    conversion = convert([(path.name, path.read_text())])
    sources: list[Any] = [found for found in yaml.safe_load_all(path.read_text()) if found]
    items = [item for found in sources for item in (found.get("items") or [found])]
    for item in items:
        item["metadata"]["namespace"] = "shop"
    runtimes: Any = [item for item in items if item["kind"].endswith("ServingRuntime")]
    expected: list[Any] = [found for found in conversion.objects if found["kind"] == "InferenceService"]
    made = [child_of(item, runtimes) for item in items if item["kind"] == "InferenceService"]

    assert [found["spec"] for found in expected] == [child.manifest["spec"] for child in made]
    assert [] == [problem for child in made for problem in validate(child.manifest)]


def test_the_child_belongs_to_kserves_object_and_to_no_tool_that_applied_that() -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "argocd.argoproj.io/tracking-id": "shop:x"}
    labels = {"app.kubernetes.io/instance": "shop", "kapp.k14s.io/app": "1", MANAGED: "true", "team": "blue"}
    service = theirs(annotations={**applied, MODE: "ModelMesh", "note": "kept"}, labels=labels)

    child: Any = child_of(service, ()).manifest

    assert ("serving.pillion.dev/v1beta1", "shop", "iris") == (
        child["apiVersion"], child["metadata"]["namespace"], child["metadata"]["name"]
    )  # fmt: skip
    owner = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "iris", "uid": "u-1"}
    assert [{**owner, "controller": True, "blockOwnerDeletion": False}] == child["metadata"]["ownerReferences"]
    assert {"team": "blue", "app.kubernetes.io/managed-by": "pillion-operator"} == child["metadata"]["labels"]
    assert {"note", "conversion.pillion.dev/applied"} == set(child["metadata"]["annotations"])
    assert stands_for(service, child)
    assert "status" not in child


def test_fields_that_clients_in_go_write_as_null_are_not_there() -> None:
    model = {**MODEL, "storageUri": "hf://shop/iris", "resources": {"limits": None}, "env": None}

    child = child_of(theirs({"predictor": {"model": model, "tolerations": None}}), ())

    assert () == child.refused
    assert {"predictor": {"model": {**MODEL, "storageUri": "hf://shop/iris", "resources": {}}}} == child.manifest[
        "spec"
    ]


def test_consent_to_a_pickle_is_an_annotation_as_kserve_has_no_field_for_it() -> None:
    shorthand = theirs(
        {"predictor": {"sklearn": {"storageUri": "s3://models/iris"}}},
        annotations={"serving.pillion.dev/allowPickle": "true"},
    )

    child: Any = child_of(shorthand, ()).manifest

    assert {"storageUri": "s3://models/iris", "allowPickle": True} == child["spec"]["predictor"]["sklearn"]
    assert "serving.pillion.dev/allowPickle" not in child["metadata"]["annotations"]
    unsaid: Any = child_of(theirs(), ()).manifest
    assert "allowPickle" not in unsaid["spec"]["predictor"]["model"]


def test_consent_reaches_a_model_whose_files_come_from_several_places() -> None:
    predictor = {"model": {"modelFormat": {"name": "sklearn"}}, "storageUris": [{"uri": "s3://models/iris"}]}

    child: Any = child_of(theirs({"predictor": predictor}, annotations={"serving.pillion.dev/allowPickle": "true"}), ())

    assert True is child.manifest["spec"]["predictor"]["model"]["allowPickle"]
    assert ([], ()) == (validate(child.manifest), child.refused)


def test_an_object_of_somebody_that_names_kserves_as_an_owner_was_not_made_for_it() -> None:
    made: Any = child_of(theirs(), ()).manifest
    (owner,) = made["metadata"]["ownerReferences"]
    unsigned = {**made, "metadata": {**made["metadata"], "annotations": {}}}
    beside = {**made, "metadata": {**made["metadata"], "ownerReferences": [{**owner, "controller": False}]}}

    assert [True, False, False] == [stands_for(theirs(), child) for child in (made, unsigned, beside)]


def test_what_cannot_be_is_refused_by_its_field_and_what_has_no_counterpart_is_named() -> None:
    refused = child_of(theirs({"predictor": {"minReplicas": 3, "maxReplicas": 1, "model": MODEL}}), ())
    assert "maxReplicas" in " ".join(refused.refused) or "minReplicas" in " ".join(refused.refused)

    named = child_of(theirs({"predictor": {"model": {**MODEL, "runtime": "kserve-sklearnserver"}}}), ())
    assert () == named.refused
    (sentence,) = named.removed
    assert sentence.startswith("spec.predictor.model.runtime: 'kserve-sklearnserver' is KServe's")


def test_a_child_is_as_applied_until_its_source_or_its_spec_is_another() -> None:
    wanted: Any = child_of(theirs(), ()).manifest
    metadata = {**wanted["metadata"], "annotations": {**wanted["metadata"]["annotations"], "of": "somebody"}}
    live = {**wanted, "metadata": metadata, "status": {}}

    assert is_as_applied(wanted, live)
    assert not is_as_applied(wanted, {**live, "spec": {"predictor": {"model": MODEL, "minReplicas": 2}}})
    assert not is_as_applied(child_of(theirs(labels={"team": "red"}), ()).manifest, live)


def test_until_the_child_has_a_status_everything_is_unknown_and_in_progress() -> None:
    status = mirrored(ours(observed=-1))

    assert 3 == status["observedGeneration"]
    assert {"IngressReady", "PredictorReady", "Ready"} == {c["type"] for c in status["conditions"]}
    assert {"Unknown"} == {c["status"] for c in status["conditions"]}
    assert "InProgress" == status["modelStatus"]["transitionStatus"]


def test_a_status_of_the_childs_former_generation_changes_nothing() -> None:
    known = theirs(status={"conditions": [{"type": "Ready", "status": "True"}]})

    assert None is mirrored_status(known, ours(*READY, observed=1), (), NOW)


def test_a_ready_service_reads_as_kserves_own_do() -> None:
    url = "http://iris-predictor.shop.svc.cluster.local"
    component = {
        "url": url,
        "restUrl": url,
        "grpcUrl": "iris:8081",
        "address": {"url": url},
        "latestReadyRevision": "a",
    }
    states = {"activeModelState": "Loaded", "targetModelState": "Loaded"}
    child = ours(
        *READY,
        ("Reconciling", "False", "Settled"),
        ("ModelLoaded", "True", "Loaded"),
        url=url,
        address={"url": url},
        components={"predictor": component},
        clusterServingRuntimeName="pillion-sklearn",
        runtime={"name": "pillion-sklearn"},
        replicas={"ready": 1},
        modelStatus={"transitionStatus": "UpToDate", "states": states, "copies": {"failedCopies": 0, "totalCopies": 1},
                     "libraries": {}},
    )  # fmt: skip

    status = mirrored(child)

    assert [("IngressReady", "True"), ("PredictorReady", "True"), ("Ready", "True"), ("Stopped", "False")] == [
        (c["type"], c["status"]) for c in status.pop("conditions")
    ]
    assert {
        "observedGeneration": 3,
        "deploymentMode": "Standard",
        "url": url,
        "address": {"url": url},
        "components": {"predictor": component},
        "clusterServingRuntimeName": "pillion-sklearn",
        "modelStatus": {
            "transitionStatus": "UpToDate", "states": states, "copies": {"failedCopies": 0, "totalCopies": 1}
        },
    } == status  # fmt: skip


def test_a_condition_that_stays_keeps_its_time() -> None:
    known = theirs(status={"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": BEFORE}]})

    status = mirrored(ours(*READY), known)

    assert BEFORE == condition(status, "Ready")["lastTransitionTime"]
    assert NOW == condition(status, "PredictorReady")["lastTransitionTime"]


@pytest.mark.parametrize(
    ("conditions", "said", "transition"),
    [
        ([("Ready", "False", "Starting"), ("Reconciling", "True", "Starting")], "InProgress", "InProgress"),
        ([("Ready", "True", "Loaded"), ("Reconciling", "True", "Progressing")], "UpToDate", "InProgress"),
        ([("Ready", "False", "NoServingRuntime"), ("Reconciling", "True", "x")], "InvalidSpec", "InProgress"),
        ([("Ready", "False", "OOMKilled"), ("Reconciling", "True", "OOMKilled")], "InProgress", "BlockedByFailedLoad"),
        ([("Ready", "False", "LocalFile"), ("Stalled", "True", "LocalFile")], "InvalidSpec", "InvalidSpec"),
        ([("Ready", "False", "Refused"), ("Stalled", "True", "Refused")], "", "InvalidSpec"),
        ([("Ready", "False", "DigestMismatch"), ("Stalled", "True", "DigestMismatch")], "", "BlockedByFailedLoad"),
    ],
)
def test_only_what_somebody_has_to_mend_is_a_failed_transition(
    conditions: list[tuple[str, str, str]], said: str, transition: str
) -> None:
    child = ours(*conditions, modelStatus={"transitionStatus": said} if said else {})

    assert transition == mirrored(child)["modelStatus"]["transitionStatus"]


def test_a_failure_has_one_of_kserves_reasons_and_our_word_in_its_message() -> None:
    failure = {"reason": "OOMKilled", "message": "Killed.", "location": "iris-1", "exitCode": 137, "time": BEFORE}
    child = ours(("Ready", "False", "OOMKilled"), modelStatus={"transitionStatus": "x", "lastFailureInfo": failure})

    found = mirrored(child)["modelStatus"]["lastFailureInfo"]

    assert {**failure, "reason": "RuntimeUnhealthy", "message": "OOMKilled: Killed."} == found


def test_a_pickle_without_consent_is_told_of_the_annotation() -> None:
    status = mirrored(ours(("Ready", "False", "UnsafeFormat"), ("Stalled", "True", "UnsafeFormat")))

    assert "serving.pillion.dev/allowPickle" in condition(status, "Ready")["message"]


def test_a_stopped_service_is_stopped_and_tells_of_no_model() -> None:
    child = ours(("Ready", "False", "Stopped"), ("PredictorReady", "False", "Stopped"), ("Stopped", "True", "Stopped"))

    status = mirrored(child)

    assert ("True", "Info") == (condition(status, "Stopped")["status"], condition(status, "Stopped")["severity"])
    assert "modelStatus" not in status


def test_what_has_no_effect_is_named_by_a_condition_that_is_true() -> None:
    child = ours(*READY, ("FieldsHonoured", "False", "FieldsNotHonoured"))

    found = condition(mirrored(child, removed=("spec.a: there is none; use b",)), "FieldsIgnored")

    assert ("True", "Warning") == (found["status"], found["severity"])
    assert "spec.a: there is none; use b. FieldsHonoured says." == found["message"]
    assert {} == condition(mirrored(ours(*READY)), "FieldsIgnored")


def test_shares_are_traffic_with_the_keys_that_kserves_client_reads() -> None:
    child = ours(*READY, components={"predictor": {"url": "http://x"}}, canary={"requested": 10, "actual": 20})

    traffic = mirrored(child)["components"]["predictor"]["traffic"]

    assert [(True, 20), (False, 80)] == [(target["latestRevision"], target["percent"]) for target in traffic]


def test_a_transformer_and_an_explainer_have_kserves_conditions_and_no_shares() -> None:
    beside = (("TransformerReady", "True", "Ready"), ("ExplainerReady", "False", "Starting"))
    parts = {name: {"url": f"http://iris-{name}"} for name in ("predictor", "transformer", "explainer")}

    found = mirrored(ours(*READY, *beside, components=parts, canary={"actual": 10}))

    assert {"True", "False"} == {condition(found, kind)["status"] for kind, _, _ in beside}
    assert ["predictor"] == [name for name, part in found["components"].items() if "traffic" in part]
    assert parts["transformer"] == found["components"]["transformer"]
    assert {} == condition(mirrored(ours(*READY)), "TransformerReady")


def test_a_refusal_keeps_what_was_known_and_is_a_failed_transition_if_it_lasts() -> None:
    known = theirs(status={"url": "http://x", "conditions": []})

    lasting, passing = (refused_status(known, "NameConflict", "There is one.", NOW, lasting=x) for x in (True, False))

    assert ("http://x", 3) == (lasting["url"], lasting["observedGeneration"])
    told: Any = lasting
    assert ("False", "NameConflict") == (condition(told, "Ready")["status"], condition(told, "Ready")["reason"])
    assert "InvalidPredictorSpec" == told["modelStatus"]["lastFailureInfo"]["reason"]
    again: Any = refused_status({**known, "status": told}, "NameConflict", "There is one.", "later")
    assert told == again, "nothing is written twice"
    transient: Any = passing
    assert "InProgress" == transient["modelStatus"]["transitionStatus"]


def test_changes_of_ready_and_of_what_is_ignored_are_events() -> None:
    status = mirrored(ours(*READY), removed=("spec.a: none",))

    assert [("Loaded", False), ("FieldsNotHonoured", True)] == [
        (happening.reason, happening.warning) for happening in kserve_happenings(theirs(), status)
    ]
    assert () == kserve_happenings(theirs(status=status), status)


def test_the_reasons_that_are_failures_are_those_of_our_own_rule_for_argo_cd() -> None:
    table = (ROOT / "config/argocd/inferenceservice.lua").read_text().partition("local failures = {")[2]

    assert set(re.findall(r"(\w+) = true", table.partition("}")[0])) == {reason.value for reason in FAILURES}
