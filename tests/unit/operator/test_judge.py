from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pillion.policy import ConsentPolicy
from pillion.resources import InferenceService
from pillion.resources.autoscaling import PodMetric
from pillion_operator.judge.status import facts_of, status_of, verdicts
from pillion_operator.report.events import happenings
from pillion_operator.report.status import merge_patch
from pillion_operator.scaling.behavior import DEFAULT
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, ROLE, SERVICE, Kind
from pillion_operator.state.observed import CertificateFacts, ModelReport, Observed, Outcome
from pillion_operator.state.plan import Child, Desired, Endpoints, Note, Problem, ReplicaBounds, RuntimeChoice
from pillion_operator.state.policies import ConsentRule
from pillion_operator.state.reasons import Reason
from pillion_operator.state.scaling import PodScaling, ScalingReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion_operator.judge.facts import Facts, Verdict

NOW = 1_800_000_000.0
TIME = "2027-01-15T08:00:00Z"
READY = {"type": "Ready", "status": "True"}


def stored(**predictor: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "ns", "uid": "u", "generation": 3},
        "spec": {"predictor": predictor or {"sklearn": {"storageUri": "s3://models/iris"}}},
    }


def deployment(**status: Any) -> dict[str, Any]:
    wanted = status.pop("wanted", 1)
    full = {"observedGeneration": 2, "replicas": wanted, "updatedReplicas": wanted} | status
    return {
        "metadata": {"generation": 2},
        "spec": {
            "replicas": wanted,
            "template": {"metadata": {"annotations": {"serving.pillion.dev/revision": "new"}}},
        },
        "status": full,
    }


AVAILABLE = deployment(readyReplicas=1, availableReplicas=1)


def pod(name: str = "iris-1", *, revision: str = "new", **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {"serving.pillion.dev/revision": revision}}
    return {"metadata": metadata, "status": status}


def ended(message: str = "", code: int = 1, reason: str = "Error", name: str = "runtime") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    field = "initContainerStatuses" if name == "storage" else "containerStatuses"
    return {field: [{"name": name, "ready": False, "state": state}]}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "runtime", "ready": False, "image": "i:1", "state": state, **more}]}


def facts(
    live: dict[str, Any] | None = AVAILABLE,
    pods: Sequence[dict[str, Any]] = (),
    *,
    service: dict[str, Any] | None = None,
    has_service: bool = True,
    replicas: ReplicaBounds | None = None,
    problem: Problem | None = None,
    outcome: Outcome | None = None,
    certificates: tuple[CertificateFacts, ...] = (),
    missing: tuple[Problem, ...] = (),
    reports: tuple[ModelReport, ...] = (),
    notes: tuple[Note, ...] = (),
    pickle: ConsentRule | None = None,
    autoscaler: dict[str, Any] | None = None,
) -> Facts:
    manifest = service or stored()
    children: dict[Any, Any] = {DEPLOYMENT: {"iris-predictor": live} if live else {}}
    children[SERVICE] = {"iris-predictor": {}} if has_service else {}
    children[HORIZONTAL_POD_AUTOSCALER] = {"iris-predictor": autoscaler} if autoscaler else {}
    observed = Observed(manifest, children, tuple(pods), certificates, missing, reports, NOW)
    choice = RuntimeChoice("ClusterServingRuntime", "pillion-sklearn", "because")
    bounds = replicas or ReplicaBounds(1, None)
    desired = Desired(
        (), bounds, Endpoints("http://iris", "grpc://iris:8081"), choice, problem, notes, pickle or ConsentRule()
    )
    return facts_of(InferenceService.from_api(manifest), observed, desired, outcome or Outcome())


def verdict(given: Facts, kind: str) -> Verdict:
    return next(found for found in verdicts(given) if found.type == kind)


STORAGE = json.dumps({"reason": "DigestMismatch", "message": "the digest is sha256:b", "remedy": "upload it again"})
EXPIRED = CertificateFacts("cert", found=True, not_after=NOW - 1)
MISSING = CertificateFacts("cert", found=False)
UNSAFE = ModelReport("iris-1", "UNAVAILABLE", "m.pkl is a pickle (use skops)", cause="UnsafeFormat")
UNTRUSTED = ModelReport("iris-1", "UNAVAILABLE", "types: a.B (add trustedTypes: [a.B])", cause="UntrustedTypes")
TOO_OLD = ModelReport(
    "iris-1", "UNAVAILABLE", "saved by 1.2 (set runtimeVersion: sklearn-1.2)", cause="LibraryMismatch"
)
BROKEN = ModelReport("iris-1", "UNAVAILABLE", "m.onnx is damaged")
UNWELL = ModelReport("iris-1", "UNAVAILABLE", "unhealthy: the disk is full", cause="Unhealthy", model="iris")
RUNNING: dict[str, Any] = {"containerStatuses": [{"name": "runtime", "ready": False, "state": {"running": {}}}]}


@pytest.mark.parametrize(
    ("reason", "said", "given"),
    [
        ("Loaded", "1 of 1 pods are available", facts(pods=[pod(conditions=[READY])])),
        ("Starting", "no pod has been made", facts(None)),
        ("Starting", "0 of 2 pods", facts(deployment(wanted=2))),
        ("Starting", "Service has not been made", facts(has_service=False)),
        ("Stopped", "annotation", facts(replicas=ReplicaBounds(0, 0))),
        ("LocalFile", "pillion push", facts(None, problem=Problem(Reason.LOCAL_FILE, "the URI names a file"))),
        ("ImagePullBackOff", "imagePullSecrets", facts(deployment(), [pod(**waiting("ImagePullBackOff"))])),
        ("ImagePullBackOff", "not known", facts(deployment(), [pod(**waiting("ErrImagePull", "tag not known"))])),
        (
            "CreateContainerFailed",
            'secret "x" not found',
            facts(deployment(), [pod(**waiting("CreateContainerConfigError", 'secret "x" not found'))]),
        ),
        ("OOMKilled", "limits.memory", facts(deployment(), [pod(**ended(code=137, reason="OOMKilled"))])),
        ("CrashLoopBackOff", "its last line: boom", facts(deployment(), [pod(**ended("starting\nboom\n"))])),
        ("CrashLoopBackOff", "cannot bind", facts(deployment(), [pod(**ended('{"message": "cannot bind"}'))])),
        (
            "CrashLoopBackOff",
            "exit code 3",
            facts(
                deployment(),
                [pod(**waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 3, "message": ""}}))],
            ),
        ),
        ("DigestMismatch", "upload it again", facts(deployment(), [pod(**ended(STORAGE, 30, name="storage"))])),
        ("DownloadFailed", "no such host", facts(deployment(), [pod(**ended("no such host", name="storage"))])),
        ("Evicted", "low on memory", facts(deployment(), [pod(phase="Failed", message="low on memory")])),
        (
            "Unschedulable",
            "insufficient cpu",
            facts(
                deployment(),
                [
                    pod(
                        conditions=[
                            {
                                "type": "PodScheduled",
                                "status": "False",
                                "reason": "Unschedulable",
                                "message": "insufficient cpu",
                            }
                        ]
                    )
                ],
            ),
        ),
        ("UnsafeFormat", "use skops", facts(deployment(), [pod(**RUNNING)], reports=(UNSAFE,))),
        ("UntrustedTypes", "trustedTypes: [a.B]", facts(deployment(), [pod(**RUNNING)], reports=(UNTRUSTED,))),
        ("LibraryMismatch", "runtimeVersion: sklearn-1.2", facts(deployment(), [pod(**RUNNING)], reports=(TOO_OLD,))),
        ("ModelLoadFailed", "m.onnx is damaged", facts(deployment(), [pod(**RUNNING)], reports=(BROKEN,))),
        ("Unhealthy", "unhealthy: the disk is full", facts(deployment(), [pod(**RUNNING)], reports=(UNWELL,))),
        (
            "QuotaExceeded",
            "exceeded quota",
            facts(
                deployment(
                    conditions=[{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: none"}]
                )
            ),
        ),
        (
            "PodsRefused",
            "violates PodSecurity",
            facts(
                deployment(
                    conditions=[{"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}]
                )
            ),
        ),
        ("SecretNotFound", "Secret 'cert'", facts(deployment(), certificates=(MISSING,))),
        ("CertificateExpired", "expired at 2027-01-15", facts(certificates=(EXPIRED,))),
        ("CertificateInvalid", "lacks tls.key", facts(deployment(), certificates=(
            CertificateFacts("cert", found=True, missing_keys=("tls.key",)),))),
        ("ConfigMapNotFound", "create it", facts(deployment(), missing=(
            Problem(Reason.CONFIG_MAP_NOT_FOUND, "ConfigMap 'iris' is not there"),))),
        ("NameConflict", "rename or delete", facts(outcome=Outcome(
            (Problem(Reason.NAME_CONFLICT, "Service 'iris-predictor' exists", "Service/iris-predictor"),)))),
    ],
)  # fmt: skip
def test_ready_says_why_and_what_to_do(reason: str, said: str, given: Facts) -> None:
    found = verdict(given, "Ready")

    assert reason == found.reason
    assert said in found.message
    assert ("True" if reason == "Loaded" else "False") == found.status


def test_every_sentence_ends_once() -> None:
    for found in verdicts(facts(deployment(), [pod(**ended("boom."))])):
        assert found.message.endswith(".")
        assert ".." not in found.message


def test_a_failing_new_version_is_told_while_the_former_serves_on() -> None:
    live = deployment(replicas=2, readyReplicas=1, availableReplicas=1)
    given = facts(live, [pod("old", revision="old", conditions=[READY]), pod("new", **waiting("ErrImagePull"))])

    assert "ImagePullBackOff" == verdict(given, "Ready").reason
    assert "Meanwhile 1 pod serves on." in verdict(given, "Ready").message


def test_trouble_of_pods_that_are_on_their_way_out_is_not_told() -> None:
    leaving = pod("old", revision="old", **ended("terminated"))
    gone = pod("new-1", **ended("terminated"))
    gone["metadata"]["deletionTimestamp"] = TIME

    assert "Loaded" == verdict(facts(pods=[leaving, gone, pod(conditions=[READY])]), "Ready").reason


def test_a_secret_that_goes_while_pods_serve_is_a_warning() -> None:
    given = facts(pods=[pod(conditions=[READY])], certificates=(MISSING,))

    assert "True" == verdict(given, "Ready").status
    assert "Secret 'cert'" in verdict(given, "Ready").message


@pytest.mark.parametrize(
    ("reconciling", "stalled", "given"),
    [
        ("False", "False", facts(pods=[pod(conditions=[READY])])),
        ("True", "False", facts(deployment())),
        ("True", "False", facts(deployment(), [pod(**waiting("ErrImagePull"))])),
        ("False", "True", facts(None, problem=Problem(Reason.LOCAL_FILE, "x", transient=False))),
        # The storage step says by its exit code whether another try may help.
        ("False", "True", facts(deployment(), [pod(**ended(STORAGE, 30, name="storage"))])),
        ("True", "False", facts(deployment(), [pod(**ended(STORAGE, 41, name="storage"))])),
        (
            "False",
            "True",
            facts(deployment(), reports=(UNSAFE,)),
        ),
        ("True", "False", facts(deployment(), reports=(ModelReport("p", "UNAVAILABLE", "it is torn"),))),
        (
            "False",
            "True",
            facts(
                deployment(
                    conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
                )
            ),
        ),
        ("False", "False", facts(deployment(wanted=0), replicas=ReplicaBounds(0, 0))),
        ("True", "False", facts(deployment(wanted=0, replicas=1), replicas=ReplicaBounds(0, 0))),
        ("True", "False", facts(deployment(observedGeneration=1, availableReplicas=1))),
    ],
)
def test_kstatus_knows_in_progress_from_failed_from_current(reconciling: str, stalled: str, given: Facts) -> None:
    assert (reconciling, stalled) == (verdict(given, "Reconciling").status, verdict(given, "Stalled").status)


@pytest.mark.parametrize(
    ("transition", "target", "active", "given"),
    [
        ("UpToDate", "Loaded", "Loaded", facts(pods=[pod(conditions=[READY])])),
        ("InProgress", "Pending", "Pending", facts(deployment())),
        ("InProgress", "Loading", "Loading", facts(deployment(), [pod()])),
        ("InProgress", "Loading", "Loaded", facts(pods=[pod("old", revision="old", conditions=[READY]), pod()])),
        ("BlockedByFailedLoad", "FailedToLoad", "FailedToLoad", facts(deployment(), [pod(**ended("x"))])),
        ("InvalidSpec", "FailedToLoad", "FailedToLoad", facts(None, problem=Problem(Reason.LOCAL_FILE, "x"))),
    ],
)
def test_the_model_status_follows_the_pods(transition: str, target: str, active: str, given: Facts) -> None:
    status: dict[str, Any] = status_of(given, TIME)

    assert transition == status["modelStatus"]["transitionStatus"]
    assert {"activeModelState": active, "targetModelState": target} == status["modelStatus"]["states"]


def test_the_libraries_of_the_model_are_reported() -> None:
    report = ModelReport("iris-1", "READY", libraries={"saved": {"scikit-learn": "1.5"}, "loading": {}})
    status: dict[str, Any] = status_of(facts(pods=[pod(conditions=[READY])], reports=(report,)), TIME)

    assert {"saved": {"scikit-learn": "1.5"}} == status["modelStatus"]["libraries"]


SAVED_EARLIER = ModelReport(
    "iris-1", "READY", libraries={"saved": {"scikit-learn": "1.6.1"}, "loading": {"scikit-learn": "1.9.0"}}
)


def test_a_model_of_another_library_version_is_loaded_with_a_warning_and_one_event() -> None:
    given = facts(pods=[pod(conditions=[READY])], reports=(SAVED_EARLIER,))
    status: dict[str, Any] = status_of(given, TIME)

    assert ("True", "Loaded") == (verdict(given, "ModelLoaded").status, verdict(given, "ModelLoaded").reason)
    assert "saved by scikit-learn 1.6.1 and loaded by 1.9.0" in verdict(given, "ModelLoaded").message
    assert "runtimeVersion: sklearn-1.6" in verdict(given, "Ready").message
    first = [h for h in happenings(stored(), status, Outcome()) if h.reason == "LibraryMismatch"]
    assert [True] == [happening.warning for happening in first]
    assert [] == [h for h in happenings(stored() | {"status": status}, status, Outcome()) if "Library" in h.reason]


def test_versions_that_an_older_pod_reports_are_not_the_newest_models() -> None:
    old = pod("old", revision="old", conditions=[READY])
    status: dict[str, Any] = status_of(facts(pods=[old, pod()], reports=(replace(SAVED_EARLIER, pod="old"),)), TIME)

    assert "libraries" not in status["modelStatus"]


def test_a_refused_pickle_names_who_denies_it_and_waits_for_somebody() -> None:
    given = facts(
        deployment(), [pod(**RUNNING)], reports=(UNSAFE,), pickle=ConsentRule(ConsentPolicy.DENY, "the label")
    )

    assert "m.pkl is a pickle, by the label; use skops." in verdict(given, "Ready").message
    assert "True" == verdict(given, "Stalled").status


def test_fields_without_effect_are_named() -> None:
    service = stored(sklearn={"storageUri": "s3://models/iris"}, storageContainerName="own")
    found = verdict(
        facts(service=service, notes=(Note(Reason.FIELDS_NOT_HONOURED, "tls has no effect"),)), "FieldsHonoured"
    )

    assert "False" == found.status
    assert "spec.predictor.storageContainerName" in found.message
    assert "tls has no effect" in found.message


def homeless(since: str) -> dict[str, Any]:
    """A pod that no node takes."""
    found = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "insufficient cpu"}
    return pod(conditions=[found | {"lastTransitionTime": since}])


SERVING = pod("iris-0", revision="old", conditions=[READY])
LONG_AGO = "2027-01-15T07:50:00Z"


def test_a_surge_pod_without_a_node_names_the_mode_that_needs_none() -> None:
    live = deployment(replicas=2, updatedReplicas=1, readyReplicas=1, availableReplicas=1)
    given = facts(live, [SERVING, homeless(LONG_AGO)])

    for kind in ("Ready", "Progressing"):
        found = verdict(given, kind)
        assert ("False", "Unschedulable") == (found.status, found.reason)
        assert "rollout.mode: ResourceAware" in found.message
    assert "Meanwhile 1 pod serves on." in verdict(given, "Ready").message


def test_a_first_pod_without_a_node_is_no_surge() -> None:
    found = verdict(facts(deployment(), [homeless(LONG_AGO)]), "Progressing")

    assert ("False", "Unschedulable") == (found.status, found.reason)
    assert "ResourceAware" not in found.message


def test_a_pod_may_wait_a_minute_for_a_node() -> None:
    assert "True" == verdict(facts(deployment(), [homeless("2027-01-15T07:59:30Z")]), "Progressing").status


RANGE = ReplicaBounds(2, 10, autoscaled=True)


def test_pods_that_an_autoscaler_adds_do_not_make_the_service_not_ready() -> None:
    live = deployment(wanted=4, readyReplicas=2, availableReplicas=2)
    ready = [pod(f"iris-{number}", conditions=[READY]) for number in range(2)]

    starting = verdict(facts(live, [*ready, pod("iris-3")], replicas=RANGE), "Ready")
    without_a_node = facts(live, [*ready, homeless(LONG_AGO)], replicas=RANGE)
    no_node = verdict(without_a_node, "Ready")
    too_few = verdict(facts(live, [ready[0], homeless(LONG_AGO)], replicas=RANGE), "Ready")

    assert ("True", "2 of 4 pods are available.") == (starting.status, starting.message)
    assert "True" == no_node.status
    assert "insufficient cpu" in no_node.message
    assert "Unschedulable" == verdict(without_a_node, "Progressing").reason
    assert ("False", "Unschedulable") == (too_few.status, too_few.reason)


def test_a_quota_that_refuses_what_an_autoscaler_adds_is_named_and_the_service_stays_ready() -> None:
    full = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: compute, requested: pods=1"}]
    live = deployment(wanted=4, readyReplicas=2, availableReplicas=2, conditions=full)
    ready = [pod(f"iris-{number}", conditions=[READY]) for number in range(2)]

    enough = verdict(facts(live, ready, replicas=RANGE), "PredictorReady")
    too_few = verdict(facts(live, ready[:1], replicas=RANGE), "PredictorReady")

    assert "True" == enough.status
    assert "exceeded quota: compute" in enough.message
    assert ("False", "QuotaExceeded") == (too_few.status, too_few.reason)


def scaler(status: str, reason: str = "", message: str = "", kind: str = "ScalingActive") -> dict[str, Any]:
    since = "2027-01-15T07:59:30Z"  # half a minute ago
    found = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
    return {"status": {"conditions": [found]}}


BY_PODS = ReplicaBounds(2, 10, autoscaled=True, by_pods=PodScaling(PodMetric("concurrency", 5.0), DEFAULT))


@pytest.mark.parametrize(
    ("status", "reason", "said", "report"),
    [
        ("True", "Autoscaling", "Between 2 and 10 pods.", ScalingReport("Autoscaling", "Between 2 and 10 pods.")),
        (
            "False",
            "MetricsUnavailable",
            "let the operator's pods reach port 8082",
            ScalingReport("MetricsUnavailable", "x"),
        ),
        ("False", "Forbidden", "grant the operator's service account", ScalingReport("Forbidden", "x")),
        ("Unknown", "Starting", "has not looked yet", None),
    ],
)
def test_the_operators_own_autoscaler_says_what_it_did(
    status: str, reason: str, said: str, report: ScalingReport | None
) -> None:
    given = facts(deployment(), replicas=BY_PODS)
    found = verdict(replace(given, observed=replace(given.observed, scaling=report)), "ScalingActive")

    assert (status, reason) == (found.status, found.reason)
    assert said in found.message


def test_a_new_leader_lets_stand_what_the_autoscaler_said_last() -> None:
    service = stored(sklearn={"storageUri": "s3://models/iris"})
    service["status"] = scaler("True", "Autoscaling", "Between 2 and 10 pods.")["status"]

    found = verdict(facts(deployment(), service=service, replicas=BY_PODS), "ScalingActive")

    assert ("True", "Between 2 and 10 pods.") == (found.status, found.message)


NO_API = "unable to fetch metrics from resource metrics API: the server could not find the requested resource"


@pytest.mark.parametrize(
    ("status", "reason", "said", "autoscaler"),
    [
        ("True", "Autoscaling", "Between 2 and 10 pods, by cpu.", scaler("True", "ValidMetricFound")),
        ("Unknown", "Starting", "has not looked yet", None),
        ("False", "MetricsUnavailable", "install metrics-server", scaler("False", "FailedGetResourceMetric", NO_API)),
        ("Unknown", "Starting", "no metrics yet", scaler("False", "FailedGetResourceMetric", "no metrics returned")),
        (
            "False",
            "RequestsMissing",
            "scaleMetricType: AverageValue",
            scaler("False", "FailedGetResourceMetric", "missing request for cpu in container side of Pod iris-1"),
        ),
        ("False", "AutoscalerFailed", "more than one", scaler("False", "AmbiguousSelector", "more than one")),
        ("False", "AutoscalerFailed", "not there", scaler("False", "FailedGetScale", "not there", "AbleToScale")),
    ],
)
def test_an_autoscaler_says_whether_it_can_decide(
    status: str, reason: str, said: str, autoscaler: dict[str, Any] | None
) -> None:
    found = verdict(facts(replicas=RANGE, autoscaler=autoscaler), "ScalingActive")

    assert (status, reason) == (found.status, found.reason)
    assert said in found.message


def test_the_pod_that_an_autoscaler_happens_to_name_does_not_change_what_is_said() -> None:
    said = [
        verdict(facts(replicas=RANGE, autoscaler=scaler("False", "FailedGetResourceMetric", text)), "ScalingActive")
        for pod in ("iris-predictor-6f5b-x7", "iris-predictor-6f5b-q2")
        for text in [f"missing request for cpu in container side of Pod {pod}"]
    ]

    assert said[0] == said[1]
    assert "missing request for cpu in container side" in said[0].message


def test_metrics_that_stay_away_are_told_after_a_while() -> None:
    late = scaler("False", "FailedGetResourceMetric", "no metrics returned")
    late["status"]["conditions"][0]["lastTransitionTime"] = "2027-01-15T07:58:00Z"

    assert "MetricsUnavailable" == verdict(facts(replicas=RANGE, autoscaler=late), "ScalingActive").reason


def test_without_an_autoscaler_there_is_no_condition_of_it() -> None:
    assert "ScalingActive" not in [found.type for found in verdicts(facts())]


@pytest.mark.parametrize(("status", "scaler_class"), [("False", "hpa"), ("True", "external"), ("True", "none")])
def test_metrics_are_somebody_elses_where_scaling_is(status: str, scaler_class: str) -> None:
    service = stored(
        sklearn={"storageUri": "s3://models/iris"}, maxReplicas=3, scaleMetric="rps", scaleMetricType="Value"
    )
    service["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": scaler_class}

    assert status == verdict(facts(service=service), "FieldsHonoured").status


OWN_IMAGE = stored(containers=[{"name": "runtime", "image": "registry.example/mood:v1"}])
FOREIGN = stored(containers=[{"name": "kserve-container", "image": "registry.example/mood:v1"}])
MOOD = ModelReport("iris-1", "READY", model="mood")
BROKEN_MOOD = ModelReport("iris-1", "UNAVAILABLE", "service.py:3: No module named 'tqdm'", model="mood")


@pytest.mark.parametrize(
    ("status", "reason", "said", "service", "ready", "report"),
    [
        ("True", "Loaded", "Loaded in 1 pod: mood.", OWN_IMAGE, True, MOOD),
        ("True", "Loaded", "Loaded in 1 pod.", OWN_IMAGE, True, None),
        ("False", "ModelLoadFailed", "No module named 'tqdm'", OWN_IMAGE, False, BROKEN_MOOD),
        ("False", "Starting", "must be made on Pillion's runtime", OWN_IMAGE, False, None),
        ("Unknown", "NotManaged", "The container 'kserve-container' brings its own model", FOREIGN, True, None),
    ],
)
def test_an_image_made_on_the_runtime_says_what_it_has_loaded_and_another_one_does_not(
    status: str,
    reason: str,
    said: str,
    service: dict[str, Any],
    ready: bool,  # noqa: FBT001 - a case of the table
    report: ModelReport | None,
) -> None:
    live, pods = (AVAILABLE, [pod(conditions=[READY])]) if ready else (deployment(), [pod(**RUNNING)])

    found = verdict(facts(live, pods, service=service, reports=(report,) if report else ()), "ModelLoaded")

    assert (status, reason) == (found.status, found.reason)
    assert said in found.message


@pytest.mark.parametrize(
    ("reason", "service", "states"),
    [
        ("Loaded", OWN_IMAGE, {"activeModelState": "Loaded", "targetModelState": "Loaded"}),
        ("Ready", FOREIGN, None),
    ],
)
def test_only_containers_that_tell_of_their_models_have_a_model_status(
    reason: str, service: dict[str, Any], states: dict[str, str] | None
) -> None:
    given = facts(pods=[pod(conditions=[READY])], service=service)

    assert reason == verdict(given, "Ready").reason
    found: dict[str, Any] = status_of(given, TIME)
    assert states == found.get("modelStatus", {}).get("states")


def test_every_condition_speaks_of_the_generation_and_is_valid_for_the_schema() -> None:
    status: dict[str, Any] = status_of(facts(deployment(), [pod(**ended("boom"))]), TIME)

    assert {3} == {condition["observedGeneration"] for condition in status["conditions"]}
    InferenceService.from_manifest(stored() | {"status": status})


def test_an_unchanged_condition_keeps_the_time_of_its_change() -> None:
    service = stored()
    service["status"] = status_of(facts(pods=[pod(conditions=[READY])]), "2026-01-01T00:00:00Z")

    later: dict[str, Any] = status_of(facts(pods=[pod(conditions=[READY])], service=service), TIME)

    assert service["status"] == later
    assert {} == merge_patch(service["status"], later)


def test_a_merge_patch_takes_out_what_is_gone() -> None:
    before: dict[str, Any] = {"a": 1, "b": {"c": 1, "d": 2}, "e": [1]}
    after: dict[str, Any] = {"b": {"c": 1}, "e": [1, 2]}

    assert {"a": None, "b": {"d": None}, "e": [1, 2]} == merge_patch(before, after)


def test_a_change_of_readiness_is_an_event_and_the_same_again_is_none() -> None:
    failing: dict[str, Any] = status_of(facts(deployment(), [pod(**ended("boom"))]), TIME)
    service = stored()

    first = happenings(service, failing, Outcome())
    again = happenings(service | {"status": failing}, failing, Outcome())

    assert [("CrashLoopBackOff", True)] == [(happening.reason, happening.warning) for happening in first]
    assert () == again


def test_starting_is_no_event_and_repairs_are() -> None:
    starting: dict[str, Any] = status_of(facts(deployment()), TIME)
    outcome = Outcome(created=("Deployment iris-predictor",), repaired=("removed x from Service iris",))

    found = happenings(stored(), starting, outcome)

    assert ["Created", "Repaired"] == [happening.reason for happening in found]


def with_jobs(*variables: dict[str, Any], replicas: ReplicaBounds) -> Verdict | None:
    """The condition of a service whose runtime has these variables."""
    containers: list[dict[str, Any]] = [{"name": "proxy", "env": [{"name": "PILLION_JOBS__FOLDER", "value": "/x"}]}]
    containers.append({"name": "runtime", "env": list(variables)})
    manifest: dict[str, Any] = {"spec": {"template": {"spec": {"containers": containers}}}}
    judged = facts(replicas=replicas)
    desired = replace(judged.desired, children=(Child(DEPLOYMENT, manifest),))
    return next((one for one in verdicts(replace(judged, desired=desired)) if one.type == "JobStoreReady"), None)


FOLDER = {"name": "PILLION_JOBS__FOLDER", "value": "/data"}
DATABASE = {"name": "PILLION_JOBS__DATABASE", "valueFrom": {"secretKeyRef": {"name": "jobs", "key": "url"}}}


@pytest.mark.parametrize("replicas", [ReplicaBounds(2, 2), ReplicaBounds(1, 3), ReplicaBounds(1, None)])
def test_jobs_in_the_folders_of_several_pods_are_said_to_be_no_store(replicas: ReplicaBounds) -> None:
    found = with_jobs(FOLDER, replicas=replicas)

    assert found is not None
    assert ("False", "JobStoreNotShared") == (found.status, found.reason)
    assert "PILLION_JOBS__FOLDER" in found.message
    assert "name a PostgreSQL database in PILLION_JOBS__DATABASE instead, or set minReplicas" in found.message


@pytest.mark.parametrize(
    ("variables", "replicas"),
    [
        ([FOLDER], ReplicaBounds(1, 1)),
        ([DATABASE], ReplicaBounds(3, 3)),
        ([], ReplicaBounds(3, 3)),
        ([{"name": "PILLION_JOBS__FOLDER", "value": ""}], ReplicaBounds(3, 3)),
    ],
)
def test_jobs_of_one_pod_and_jobs_that_pods_share_are_nothing_to_speak_of(
    variables: list[dict[str, Any]], replicas: ReplicaBounds
) -> None:
    assert with_jobs(*variables, replicas=replicas) is None


@pytest.mark.parametrize(
    ("kinds", "reasons"),
    [((CONFIG_MAP, DEPLOYMENT), ["TrainingsNotGranted"]), ((CONFIG_MAP, ROLE, DEPLOYMENT), [])],
)
def test_trainings_that_the_operator_may_not_grant_have_no_store(kinds: tuple[Kind, ...], reasons: list[str]) -> None:
    judged = facts(replicas=ReplicaBounds(2, 2))
    given: dict[str, Any] = judged.service.to_api()
    jobs = {"enabled": True, "output": {"uri": "s3://models/trained"}}
    given["spec"]["predictor"] |= {"jobs": jobs, "serviceAccountName": "trainer"}
    desired = replace(judged.desired, children=tuple(Child(kind, {}) for kind in kinds))
    judged = replace(judged, service=type(judged.service).from_api(given), desired=desired)

    found = [one for one in verdicts(judged) if one.type == "JobStoreReady"]

    assert reasons == [one.reason for one in found if one.status == "False" and "trainings.fromServices" in one.message]
    assert len(reasons) == len(found)
