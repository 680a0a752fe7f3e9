"""`pillion status` against a real API server and operator: what is there, what is wrong, and who may not look."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster.node.apiserver import ControlPlane
from tests.integration.operator.harness import Api, OperatorProcess, eventually, inference_service
from tests.integration.operator.test_conditions import container, play_kubelet, ready_reason

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.user import User

CRASHED: dict[str, Any] = {"terminated": {"exitCode": 1, "message": "ImportError: no module named lightgbm"}}


def test_a_service_that_is_ready_is_said_to_be_with_everything_that_it_was_made_into(
    operator: OperatorProcess, api: Api, user: User
) -> None:
    api.create(user.namespace, inference_service(minReplicas=2, sklearn={"storageUri": "s3://models/iris"}))
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    for pod in eventually(lambda: _two(api.list("Pod", user.namespace))):
        status = {"status": {"phase": "Running", "conditions": ready}}
        api.patch("Pod", user.namespace, pod["metadata"]["name"], status, subresource="status", manager="kubelet")
    ready_reason(api, user.namespace, "Loaded")
    # It is ready with the first of them.
    ready_reason(api, user.namespace, "Settled", "Reconciling")

    done = user.types("status", "iris")

    assert 0 == done.returncode, done.stderr
    assert "iris is Ready: Loaded" in done.stdout
    for part in (
        "✓ Deployment iris-predictor  2/2 ready",
        "│  ├─ ✓ Pod iris-predictor-",
        "✓ Service iris-predictor  10.",
        "ports 80, 8081",
        "✓ ConfigMap iris-predictor-runtime  runtime.yaml",
        "└─ ✓ PodDisruptionBudget iris-predictor",
    ):
        assert part in done.stdout
    assert "✗" not in done.stdout


def test_a_pod_that_crashes_is_named_with_the_reason_and_the_remedy(
    operator: OperatorProcess, api: Api, user: User
) -> None:
    api.create(user.namespace, inference_service())
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    pod = play_kubelet(
        api,
        user.namespace,
        {"phase": "Running", "containerStatuses": [container("runtime", waiting, CRASHED)]},
    )
    ready_reason(api, user.namespace, "CrashLoopBackOff")

    done = user.types("status", "iris")

    assert 1 == done.returncode
    assert "iris is not Ready: CrashLoopBackOff" in done.stdout
    assert "its last line: ImportError: no module named lightgbm; see 'kubectl logs --previous'" in done.stdout
    assert f"✗ Pod {pod}  CrashLoopBackOff, 1 restart" in done.stdout


def test_programs_get_the_same_as_json(operator: OperatorProcess, api: Api, user: User) -> None:
    api.create(user.namespace, inference_service(sklearn={"storageUri": "configmap://nowhere"}))
    ready_reason(api, user.namespace, "ConfigMapNotFound")

    told: dict[str, Any] = json.loads(user.types("status", "iris", "--json").stdout)

    assert (False, "ConfigMapNotFound", user.namespace) == (told["ready"], told["reason"], told["namespace"])
    assert "nowhere" in told["message"]
    assert "Deployment" in [child["kind"] for child in told["root"]["children"]]
    assert {"Ready", "Stalled"} <= {each["type"] for each in told["conditions"]}


def test_a_change_that_the_operator_has_not_seen_is_told_from_one_that_failed(
    installed: ControlPlane, user: User
) -> None:
    alone = replace(user, kubeconfig=installed.kubeconfig, namespace="default")
    made = inference_service("behind")
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    old = {
        "type": "Ready",
        "status": "True",
        "reason": "Loaded",
        "message": "It answers.",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = json.dumps({"status": {"observedGeneration": 1, "conditions": [old]}})
    installed.kubectl("patch", "pisvc", "behind", "--subresource=status", "--type=merge", f"--patch={status}")
    assert 0 == alone.types("status", "behind").returncode
    made["spec"]["predictor"]["timeout"] = 7
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(made))

    done = alone.types("status", "behind")

    assert 1 == done.returncode
    assert "has not seen the last change yet (generation 2, it last saw 1). Before it: It answers." in done.stdout


def test_a_service_that_nobody_has_looked_at_says_so(installed: ControlPlane, user: User) -> None:
    alone = replace(user, kubeconfig=installed.kubeconfig, namespace="default")
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(inference_service("lonely")))

    done = alone.types("status", "lonely")

    assert (1, True) == (done.returncode, "No operator has looked at it yet" in done.stdout)


def test_a_name_that_is_not_there_lists_those_that_are(operator: OperatorProcess, api: Api, user: User) -> None:
    empty = user.types("status", "iriss")
    api.create(user.namespace, inference_service())

    done = user.types("status", "iriss")

    assert (5, 5) == (empty.returncode, done.returncode)
    assert "there are none there; name another namespace with -n" in empty.stderr
    assert "no InferenceService is called iriss" in done.stderr
    assert "those there: iris" in done.stderr


def test_what_may_not_be_seen_is_said_and_the_rest_is_shown(
    cluster: ControlPlane, operator: OperatorProcess, api: Api, user: User
) -> None:
    api.create(user.namespace, inference_service())
    eventually(lambda: api.get("Deployment", user.namespace, "iris-predictor"))
    scope = f"--namespace={user.namespace}"
    cluster.kubectl("create", "role", "reader", "--verb=get,list", "--resource=inferenceservices,deployments", scope)
    cluster.kubectl("create", "rolebinding", "reader", "--role=reader", "--user=ann", scope)
    ann = replace(user, kubeconfig=cluster.kubeconfig_for("ann"))

    done = ann.types("status", "iris")

    assert "Deployment iris-predictor" in done.stdout
    assert 'not shown: Error from server (Forbidden): pods is forbidden: User "ann" cannot list' in done.stdout


def test_who_may_not_read_it_is_told_which_right_is_missing(cluster: ControlPlane, user: User) -> None:
    done = replace(user, kubeconfig=cluster.kubeconfig_for("jane")).types("status", "iris")

    assert 5 == done.returncode
    assert 'not allowed (context pillion-integration): inferenceservices.serving.pillion.dev "iris"' in done.stderr
    assert "kubectl auth can-i --list" in done.stderr


def test_a_context_that_is_unknown_is_named(user: User) -> None:
    done = user.types("status", "iris", "--context", "elsewhere")

    assert (5, True) == (done.returncode, "kubectl knows no context elsewhere" in done.stderr)


def test_no_context_at_all_is_no_reason_to_call_this_machine(user: User, tmp_path: Path) -> None:
    done = user.types("status", "iris", KUBECONFIG=str(tmp_path / "none"))

    assert (5, True) == (done.returncode, "no cluster is chosen: kubectl has no current context" in done.stderr)


def test_a_cluster_without_pillion_says_how_to_install_it(user: User) -> None:
    with ControlPlane() as bare:
        done = replace(user, kubeconfig=bare.kubeconfig).types("status", "iris")

    assert (5, True) == (done.returncode, "does not know InferenceServices: Pillion is not installed" in done.stderr)


def test_a_cluster_that_does_not_answer_is_said_to_be_out_of_reach(user: User) -> None:
    config = yaml.safe_load(user.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away = user.folder / "away.kubeconfig"
    away.write_text(yaml.safe_dump(config))

    done = user.types("status", "iris", KUBECONFIG=str(away))

    assert (5, True) == (done.returncode, "the cluster cannot be reached" in done.stderr)
    assert 1 == len(done.stderr.strip().splitlines())


def test_without_kubectl_it_says_what_to_install(user: User, tmp_path: Path) -> None:
    done = user.types("status", "iris", PATH=str(tmp_path))

    assert (5, True) == (done.returncode, "kubectl is not on PATH: install it" in done.stderr)


def _two(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return pods if len(pods) == 2 else []
