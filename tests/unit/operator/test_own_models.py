"""Several models in one InferenceService: what its pods are told, which runtime they are of, and what is said. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pillion import modelsfile
from pillion.policy import ConsentPolicy
from pillion.resources import InferenceService, ServingRuntimeSpec
from pillion_operator.builders.builtin import builtin_runtimes
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.own_models import reserved
from pillion_operator.builders.predictor import plan
from pillion_operator.builders.selection import Candidate
from pillion_operator.judge.own_models import next_look, own_model_facts
from pillion_operator.judge.status import facts_of, status_of, verdicts
from pillion_operator.state.declared import DeclaredReport, OwnModel, PodReport
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT, SERVICE
from pillion_operator.state.observed import Observed, Outcome
from pillion_operator.state.plan import Child, Desired, Endpoints, Problem, ReplicaBounds
from pillion_operator.state.policies import ConsentRule, NamespaceRules
from pillion_operator.state.reasons import Reason
from pillion_operator.state.settings import RenderSettings

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts, Verdict
    from pillion_operator.judge.own_models import OwnModelFacts

SETTINGS = RenderSettings(runtime_image="registry/pillion-runtime:1")
DIGEST = f"sha256:{'0' * 64}"
A = {"name": "a", "modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/a.skops"}
B = {"name": "b", "modelFormat": {"name": "onnx"}, "storageUri": "https://host.example/b.onnx"}


def manifest(*models: dict[str, Any], **predictor: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "many", "namespace": "ns", "uid": "uid-1", "generation": 3},
        "spec": {"predictor": {"models": list(models) or [A, B]} | predictor},
    }


def builtin() -> list[Candidate]:
    found = []
    for one in builtin_runtimes(SETTINGS):
        data: dict[str, Any] = one
        spec = ServingRuntimeSpec.from_api(data["spec"])
        found.append(Candidate("ClusterServingRuntime", data["metadata"]["name"], spec))
    return found


def planned(
    *models: dict[str, Any],
    candidates: list[Candidate] | None = None,
    credentials: StorageCredentials | None = None,
    rules: NamespaceRules | None = None,
    objects: list[dict[str, Any]] | None = None,
    before: Desired | None = None,
    **predictor: Any,
) -> Desired:
    return plan(
        InferenceService.from_manifest(manifest(*models, **predictor)),
        "uid-1",
        builtin() if candidates is None else candidates,
        credentials or StorageCredentials(),
        SETTINGS,
        rules=rules or NamespaceRules(),
        models=objects or [],
        told_before=None if before is None else config(before),
    )


def config(desired: Desired) -> dict[str, Any]:
    """The ConfigMap of the models that pods are told of."""
    configs: list[Any] = [child.manifest for child in desired.children if child.kind.name == "ConfigMap"]
    return next(one for one in configs if "models.json" in one["data"])


def told(desired: Desired) -> dict[str, dict[str, Any]]:
    """What pods are told, by name."""
    text = config(desired)["data"]["models.json"]
    assert modelsfile.load(text).models
    return {model["name"]: model for model in json.loads(text)["models"]}


def pod(desired: Desired) -> dict[str, Any]:
    found: dict[str, Any] = next(c.manifest for c in desired.children if c.kind == DEPLOYMENT)
    template: dict[str, Any] = found["spec"]["template"]
    return template


def problem_of(desired: Desired, name: str) -> Problem:
    found = next(model for model in desired.models if model.name == name)
    assert found.problem is not None
    assert "" == found.id
    return found.problem


def test_pods_are_told_of_each_model_and_have_none_in_their_runtime_file() -> None:
    desired = planned(A | {"version": "7"}, B | {"digest": DIGEST})

    models = told(desired)
    assert {"a": "7", "b": models["b"]["version"]} == {name: model["version"] for name, model in models.items()}
    assert ("s3://models/a.skops", "sklearn") == (models["a"]["uri"], models["a"]["format"])
    assert (DIGEST, "onnx") == (models["b"]["digest"], models["b"]["format"])
    assert [("a", models["a"]["id"]), ("b", models["b"]["id"])] == [(one.name, one.id) for one in desired.models]
    assert "initContainers" not in pod(desired)["spec"]
    assert None is desired.problem


def test_a_change_of_the_models_is_none_of_the_pods() -> None:
    before = planned(A)
    for after in (planned(A, B), planned(A | {"storageUri": "s3://models/a2.skops"}), planned(A | {"digest": DIGEST})):
        assert pod(before) == pod(after)
        assert before.models_digest != after.models_digest


def test_a_change_of_one_model_is_none_of_the_others() -> None:
    before, after = told(planned(A, B)), told(planned(A | {"storageUri": "s3://models/a2.skops"}, B))

    assert before["b"] == after["b"]
    assert (before["a"]["id"], before["a"]["version"]) != (after["a"]["id"], after["a"]["version"])


def test_a_config_alone_makes_no_other_version() -> None:
    before, after = (told(planned(A | {"config": {"scale": scale}}))["a"] for scale in (1, 2))

    assert ({"scale": 2}, before["version"]) == (after["config"], after["version"])
    assert before["id"] != after["id"]


def test_runtimes_whose_pods_are_the_same_count_as_one() -> None:
    choice = planned(A, B).choice

    assert choice is not None
    assert "pillion-sklearn" == choice.name
    assert "its pods serve 2 of 2 models (onnx, sklearn)" == choice.why


def test_the_runtime_that_serves_most_models_is_taken_and_the_rest_left_out() -> None:
    deep = {"name": "deep", "modelFormat": {"name": "torch"}, "storageUri": "s3://models/deep"}
    odd = {"name": "odd", "modelFormat": {"name": "cobol"}, "storageUri": "s3://models/odd"}

    desired = planned(deep, A, B, odd)

    assert {"a", "b"} == set(told(desired))
    assert "is served by the ClusterServingRuntime 'pillion-torch'" in problem_of(desired, "deep").text
    assert "no serving runtime of Pillion's own supports the format 'cobol'" in problem_of(desired, "odd").text


def test_a_runtime_that_cannot_be_told_of_models_is_not_taken() -> None:
    foreign = ServingRuntimeSpec.from_api(
        {
            "supportedModelFormats": [{"name": "sklearn", "autoSelect": True, "priority": 9}],
            "containers": [{"name": "kserve-container", "image": "example.com/own:1"}],
        }
    )
    choice = planned(A, candidates=[Candidate("ServingRuntime", "own", foreign), *builtin()]).choice

    assert choice is not None
    assert "pillion-sklearn" == choice.name


def test_no_runtime_at_all_is_a_problem_of_the_service() -> None:
    problem = planned(A, candidates=[]).problem

    assert problem is not None
    assert Reason.NO_SERVING_RUNTIME == problem.reason


def test_a_container_of_our_name_beside_them_is_the_one_that_serves_them() -> None:
    limits = {"limits": {"memory": "2Gi"}}
    given = planned(A, containers=[{"name": "runtime", "resources": limits}])
    own = planned(A, containers=[{"name": "runtime", "image": "example.com/mine:1"}], candidates=[])

    (container,) = pod(given)["spec"]["containers"]
    assert ("registry/pillion-runtime:1", limits["limits"]) == (container["image"], container["resources"]["limits"])
    (container,) = pod(own)["spec"]["containers"]
    assert "example.com/mine:1" == container["image"]
    assert {"a"} == set(told(own))


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"storageUri": "hdfs://host/model"}, Reason.UNSUPPORTED_STORAGE, "models[b].storageUri"),
        ({"storageUri": "file:///models/b.onnx"}, Reason.LOCAL_FILE, "names a file of one machine"),
        ({"storageUri": None}, Reason.INVALID_SPEC, "says no place of its files"),
        ({"modelFormat": {"name": "python"}}, Reason.UNTRUSTED_CODE, "unless trustCode is true"),
        ({"version": "no version"}, Reason.INVALID_SPEC, "version"),
        ({"storageUri": f"{B['storageUri']}#{DIGEST}", "digest": f"sha256:{'1' * 64}"}, Reason.INVALID_SPEC, "digest"),
    ],
)
def test_a_model_that_cannot_be_served_leaves_the_others_alone(
    fields: dict[str, Any], reason: Reason, said: str
) -> None:
    model = {field: value for field, value in (B | fields).items() if value is not None}

    desired = planned(A, model)

    problem = problem_of(desired, "b")
    assert (reason, False) == (problem.reason, problem.transient)
    assert said in problem.text
    assert {"a"} == set(told(desired))
    assert None is desired.problem


def test_policies_of_the_namespace_hold_and_the_services_word_is_enough_below_them() -> None:
    pickled = A | {"allowPickle": True}
    code = {"name": "c", "modelFormat": {"name": "python"}, "storageUri": "s3://models/c", "trustCode": True}
    deny = ConsentRule(ConsentPolicy.DENY, "the label x")

    models = told(planned(pickled, code))
    denied = planned(pickled, code, rules=NamespaceRules(deny, deny))

    assert (True, True) == (models["a"]["allowPickle"], models["c"]["trustCode"])
    assert ("deny", None) == (told(denied)["a"]["picklePolicy"], told(denied)["a"].get("allowPickle"))
    assert "by the label x" in problem_of(denied, "c").text


def test_volumes_and_entries_of_the_secret_are_brought_to_the_pods_for_the_models_that_are_on_them() -> None:
    claim = {"name": "claim", "modelFormat": {"name": "onnx"}, "storageUri": "pvc://disk/models/m%20.onnx"}
    config = {"name": "config", "modelFormat": {"name": "onnx"}, "storageUri": "configmap://small"}
    stored = {"name": "stored", "modelFormat": {"name": "onnx"}}
    stored |= {"storage": {"key": "minio", "path": "m.onnx", "parameters": {"region": "x"}}}
    of_models = {"stored": StorageCredentials(uri="s3://bucket/m.onnx", entry="minio")}

    desired = planned(claim, config, stored, credentials=StorageCredentials(of_models=of_models))

    models, spec = told(desired), pod(desired)["spec"]
    assert "file:///mnt/sources/pvc/disk/models/m%2520.onnx" == models["claim"]["uri"]
    assert "file:///mnt/sources/configmap/small" == models["config"]["uri"]
    assert ("s3://bucket/m.onnx", "minio", {"region": "x"}) == tuple(
        models["stored"][field] for field in ("uri", "store", "storeParameters")
    )
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in spec["containers"][0]["volumeMounts"]}
    assert {"claimName": "disk", "readOnly": True} == mounted["/mnt/sources/pvc/disk"]["persistentVolumeClaim"]
    assert {"name": "small", "optional": True} == mounted["/mnt/sources/configmap/small"]["configMap"]
    secret = {"secretName": "storage-config", "optional": True, "items": [{"key": "minio", "path": "minio"}]}
    assert secret == mounted["/etc/pillion/stores"]["secret"]


def test_a_claim_that_is_not_there_is_kept_from_the_pods() -> None:
    claim = {"name": "claim", "modelFormat": {"name": "onnx"}, "storageUri": "pvc://disk/m.onnx"}
    absent = Problem(Reason.CLAIM_NOT_FOUND, "PersistentVolumeClaim 'disk' is not there", "disk")

    desired = planned(A, claim, credentials=StorageCredentials(of_models={"claim": StorageCredentials(problem=absent)}))

    assert absent == problem_of(desired, "claim")
    assert not any("persistentVolumeClaim" in volume for volume in pod(desired)["spec"]["volumes"])


def test_a_store_that_is_not_described_just_now_takes_nothing_from_pods() -> None:
    stored = {"name": "b", "modelFormat": {"name": "onnx"}, "storage": {"key": "one", "path": "b.onnx"}}
    problem = Problem(Reason.STORAGE_CONFIG_INVALID, "the Secret 'storage-config' has no entry 'one'", "storage-config")
    gone = StorageCredentials(of_models={"b": StorageCredentials(problem=problem)})
    there = StorageCredentials(of_models={"b": StorageCredentials(uri="s3://store/b.onnx", entry="one")})
    before = planned(A, stored, credentials=there)

    after = planned(A, stored, credentials=gone, before=before)

    assert (told(before), pod(before)) == (told(after), pod(after))
    assert OwnModel("b", before.models[1].id, problem) == after.models[1]
    only = facts(models=after.models[1:])
    assert "The model 'b' stays as it was: the Secret 'storage-config' has no entry" in verdict(only, "Ready").message
    assert {"a"} == set(told(planned(A, stored, credentials=gone)))
    # Neither under another policy, nor what another service of the name was told.
    denied = NamespaceRules(pickle=ConsentRule(ConsentPolicy.DENY, "the namespace"))
    assert {"a"} == set(told(planned(A, stored, credentials=gone, before=before, rules=denied)))
    others = json.loads(json.dumps(config(before)).replace("uid-1/", "uid-0/"))
    assert {"a"} == set(
        told(planned(A, stored, credentials=gone, before=replace(before, children=(Child(CONFIG_MAP, others),))))
    )


def test_a_model_object_of_the_same_name_is_left_out_and_both_are_named() -> None:
    added = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "Model",
        "metadata": {"name": "fraud", "namespace": "ns", "uid": "u", "generation": 1},
        "spec": {"inferenceServiceRef": {"name": "many"}, "storageUri": "s3://models/m.onnx", "name": "a"},
    }
    other = added | {"metadata": {"name": "many", "namespace": "ns", "uid": "v", "generation": 2}}
    other["spec"] = {"inferenceServiceRef": {"name": "many"}, "storageUri": "s3://models/m.onnx"}

    models = told(planned(A, B, objects=[added, other]))

    # No model of the service has its name here, so that a Model may.
    assert {"a": "uid-1", "b": "uid-1", "many": "v"} == {name: m["id"].split("/")[0] for name, m in models.items()}
    names = reserved(InferenceService.from_manifest(manifest())).names
    assert "a model in spec.predictor.models of the InferenceService 'many'" == names["a"]


# --- what is said

READY = [{"type": "Ready", "status": "True"}]
OWN = (OwnModel("a", "id-a"), OwnModel("b", "id-b"))


def report(pod_: str, **states: DeclaredReport) -> PodReport:
    return PodReport(pod_, reached=True, supported=True, models={f"id-{name}": one for name, one in states.items()})


SERVES = DeclaredReport("Ready", DIGEST)
LOADS = DeclaredReport("Loading")
BROKEN = DeclaredReport("Failed", reason="b.onnx is damaged", cause="ModelLoadFailed", lasting=False)
REFUSED = DeclaredReport("Failed", reason="b.pkl is a pickle (use skops)", cause="UnsafeFormat", lasting=True)


def of(*reports: PodReport, wanted: int = 2, models: tuple[OwnModel, ...] = OWN) -> tuple[OwnModelFacts, ...]:
    return own_model_facts(models, reports, wanted)


def facts(*reports: PodReport, models: tuple[OwnModel, ...] = OWN, former: str = "") -> Facts:
    """Of two pods, one of which, `former`, may be of the version before."""
    live: dict[str, Any] = {
        "metadata": {"generation": 2},
        "spec": {"replicas": 2, "template": {"metadata": {"annotations": {"serving.pillion.dev/revision": "new"}}}},
        "status": {
            "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        },
    }  # fmt: skip
    pods: list[dict[str, Any]] = [
        {
            "metadata": {
                "name": name,
                "annotations": {"serving.pillion.dev/revision": "old" if name == former else "new"},
            },
            "status": {"conditions": READY},
        }
        for name in ("p-1", "p-2")
    ]
    children: dict[Any, Any] = {DEPLOYMENT: {"many-predictor": live}, SERVICE: {"many-predictor": {}}}
    stored = manifest()
    observed = Observed(stored, children, tuple(pods), now=1_800_000_000.0, declared=reports)
    desired = Desired((), ReplicaBounds(2, None), Endpoints("http://many", ""), models=models)
    return facts_of(InferenceService.from_api(stored), observed, desired, Outcome())


def verdict(given: Facts, kind: str) -> Verdict:
    return next(found for found in verdicts(given) if found.type == kind)


def test_a_broken_model_is_named_with_its_pod_while_the_others_are_served() -> None:
    given = facts(report("p-1", a=SERVES, b=REFUSED), report("p-2", a=SERVES, b=REFUSED))

    loaded, ready = verdict(given, "ModelLoaded"), verdict(given, "Ready")
    assert ("False", "UnsafeFormat") == (loaded.status, loaded.reason)
    assert loaded.message.startswith("1 of 2 models are served by every pod, and not 'b': the model 'b' is not served")
    assert ("False", "UnsafeFormat") == (ready.status, ready.reason)
    assert "in pod p-1 and in 1 more pod: b.pkl is a pickle" in ready.message
    assert "Meanwhile 2 pods serve on." in ready.message
    assert "True" == verdict(given, "Stalled").status


def test_what_a_pod_that_is_replaced_cannot_serve_is_no_problem() -> None:
    reports = (report("p-1", a=SERVES, b=REFUSED), report("p-2", a=SERVES, b=SERVES))

    given = facts(*reports, former="p-1")

    assert ("Progressing", "False") == (verdict(given, "ModelLoaded").reason, verdict(given, "Stalled").status)
    assert "True" == verdict(given, "Ready").status
    assert "UnsafeFormat" == verdict(facts(*reports, former="p-2"), "ModelLoaded").reason


def test_what_may_pass_by_itself_is_not_stalled() -> None:
    given = facts(report("p-1", a=SERVES, b=BROKEN), report("p-2", a=SERVES, b=SERVES))

    assert ("False", "True") == (verdict(given, "Stalled").status, verdict(given, "Reconciling").status)


def test_a_model_that_is_on_its_way_leaves_the_service_ready_and_reconciling() -> None:
    given = facts(report("p-1", a=SERVES, b=LOADS), report("p-2", a=SERVES, b=SERVES))

    assert "True" == verdict(given, "Ready").status
    assert ("True", "Not every pod serves 'b' yet.") == (
        verdict(given, "Reconciling").status, verdict(given, "Reconciling").message,
    )  # fmt: skip
    loaded = verdict(given, "ModelLoaded")
    assert ("False", "Progressing") == (loaded.status, loaded.reason)
    assert "'b' by 1 of 2 pods" in loaded.message


def test_all_models_in_every_pod_are_loaded() -> None:
    given = facts(report("p-1", a=SERVES, b=SERVES), report("p-2", a=SERVES, b=SERVES))

    assert ("True", "2 of 2 models are served by every pod.") == (
        verdict(given, "ModelLoaded").status, verdict(given, "ModelLoaded").message,
    )  # fmt: skip
    assert "False" == verdict(given, "Reconciling").status


def test_pods_that_do_not_answer_make_the_models_unknown_and_nothing_broken() -> None:
    given = facts(PodReport("p-1"), PodReport("p-2"))

    assert ("Unknown", "True") == (verdict(given, "ModelLoaded").status, verdict(given, "Ready").status)


def test_the_status_tells_of_each_model_in_each_pod() -> None:
    left_out = OwnModel("c", problem=Problem(Reason.INVALID_SPEC, "spec.predictor.models[c] is odd", transient=False))
    given = facts(
        report("p-2", a=SERVES, b=LOADS), report("p-1", a=SERVES, b=REFUSED), models=(*OWN, left_out)
    )  # fmt: skip

    models: Any = status_of(given, "2027-01-15T08:00:00Z")["models"]

    a, b, c = models
    assert ("a", "Ready", {"loaded": 2, "wanted": 2, "summary": "2/2"}) == (a["name"], a["state"], a["replicas"])
    assert [{"name": name, "state": "Ready", "digest": DIGEST} for name in ("p-1", "p-2")] == a["pods"]
    assert ("b", "Failed", "UnsafeFormat") == (b["name"], b["state"], b["reason"])
    assert ["Failed", "Loading"] == [pod_["state"] for pod_ in b["pods"]]
    assert ("c", "Failed", "InvalidSpec", []) == (c["name"], c["state"], c["reason"], c["pods"])
    InferenceService.from_api(manifest() | {"status": status_of(given, "2027-01-15T08:00:00Z")})


@pytest.mark.parametrize(
    ("seconds", "given"),
    [
        (None, ()),
        (1.5, of(report("p-1", a=SERVES, b=LOADS), report("p-2", a=SERVES, b=SERVES))),
        (10.0, of(report("p-1", a=SERVES, b=BROKEN), report("p-2", a=SERVES, b=SERVES))),
        (10.0, of(report("p-1", a=SERVES, b=SERVES))),
        (60.0, of(report("p-1", a=SERVES, b=SERVES), wanted=1)),
    ],
)
def test_pods_are_asked_again_the_sooner_the_more_is_on_its_way(
    seconds: float | None, given: tuple[OwnModelFacts, ...]
) -> None:
    assert seconds == next_look(given)


def test_status_does_not_grow_with_models_times_pods() -> None:
    many = tuple(OwnModel(f"m{number}", f"id-m{number}") for number in range(64))
    serving = {f"m{number}": SERVES for number in range(64)}
    given = facts(*(report(f"p-{number}", **serving) for number in range(100)), models=many)

    models: Any = status_of(given, "2027-01-15T08:00:00Z")["models"]

    assert 600 >= sum(len(model["pods"]) for model in models)
    assert {100} == {model["replicas"]["loaded"] for model in models}
