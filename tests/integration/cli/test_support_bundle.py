"""`pillion support-bundle` against a real API server and operator, with secrets planted wherever people put them."""

from __future__ import annotations

import json
import stat
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.harness import Api, OperatorProcess, audited, eventually, inference_service
from tests.integration.operator.test_conditions import container, ready_reason
from tests.unit.cli.command import PORTS, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane
    from tests.integration.cli.user import User
    from tests.models import IrisModels

PLANTED = "pl4ntedS3cretValue"
"""Each planted secret begins so, and ends in where it was planted."""
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
OPERATOR = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "operator",
        "labels": {"app.kubernetes.io/name": "pillion", "app.kubernetes.io/component": "operator"},
    },
    "spec": {
        "containers": [{"name": "operator", "image": "x:1", "ports": [{"name": "http-metrics", "containerPort": 8083}]}]
    },
}
LOG = f"""\
2026-01-01T00:00:00Z {{"level": "info", "message": "model iris version 1 is ready after 0.07 s"}}
2026-01-01T00:00:01Z {{"level": "error", "message": "Authorization: Bearer {PLANTED}-log-header"}}
2026-01-01T00:00:02Z {{"level": "error", "api_key": "{PLANTED}-log-field"}}
2026-01-01T00:00:03Z cannot open postgresql://jobs:{PLANTED}-log-url@db.example.com/jobs
"""


@pytest.fixture(scope="module")
def admin_port(iris: IrisModels) -> Iterator[int]:
    with serving("--json", f"iris={iris.skops}", *PORTS) as lines:
        yield json.loads(lines[0])["ports"]["admin"]


def planted() -> dict[str, Any]:
    """A service with a secret in every place that people put one into."""
    made = inference_service(
        annotations={
            "example.com/webhook": f"https://hooks.example.com/{PLANTED}-annotation",
            "serving.pillion.dev/token": f"{PLANTED}-own-annotation",
            "kubectl.kubernetes.io/last-applied-configuration": f'{{"x": "{PLANTED}-copy"}}',
        }
    )
    made["spec"]["predictor"] = {
        "annotations": {"team.example.com/key": f"{PLANTED}-pod-annotation"},
        "logger": {"url": f"https://sink.example.com/in?sig={PLANTED}-logger", "mode": "all"},
        "sklearn": {
            "storageUri": f"https://store.example.com/iris.skops?X-Amz-Signature={PLANTED}-uri",
            "args": ["--api-key", f"{PLANTED}-arg", f"--other-token={PLANTED}-flag"],
            "env": [
                {"name": "PLAIN_LOOKING", "value": f"{PLANTED}-env"},
                {"name": "DB_PASSWORD", "value": f"{PLANTED}-password"},
                {"name": "PILLION_LOG__LEVEL", "value": "debug"},
                {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api"}}},
            ],
        },
        "containers": [
            {
                "name": "beside",
                "image": "example.com/beside:1",
                "command": ["sh", "-c", f"TOKEN={PLANTED}-command run"],
                "livenessProbe": {
                    "httpGet": {"port": 80, "httpHeaders": [{"name": "X-Any", "value": f"{PLANTED}-header"}]}
                },
            }
        ],
    }
    return made


def test_no_secret_is_in_the_bundle_wherever_it_was_planted_and_no_secret_is_read(
    operator: OperatorProcess, api: Api, cluster: ControlPlane, user: User, admin_port: int, audit_log: Path
) -> None:
    namespace = user.namespace
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}
    api.create(namespace, secret | {"stringData": {"api": f"{PLANTED}-secret"}})
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}
    api.create(namespace, config | {"data": {"anything": f"{PLANTED}-configmap"}})
    api.create(namespace, planted())
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "told"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "x", "namespace": namespace},
        "reason": "Failed",
        "message": f"pull failed: password={PLANTED}-event",
    }
    api.create(namespace, event)
    for pod in eventually(lambda: api.list("Pod", namespace)):
        status = {"status": {"phase": "Running", "containerStatuses": [container("runtime", RUNNING)]}}
        api.patch("Pod", namespace, pod["metadata"]["name"], status, subresource="status", manager="kubelet")
    log = user.folder / "pod.log"
    log.write_text(LOG)
    supporter = replace(user, kubeconfig=cluster.kubeconfig_for("supporter", ["system:masters"]))
    asking = supporter.forwarding_to(admin_port, user.folder / "forwarded.log")

    done = asking.types("support-bundle", "--output", "shop.tar.gz", POD_LOG=str(log))

    assert 0 == done.returncode, done.stderr
    files = _files(user.folder / "shop.tar.gz")
    assert any(path.endswith("/runtime.previous.log") for path in files)
    assert [] == [f"{path}: {_around(text)}" for path, text in files.items() if PLANTED in text]
    assert PLANTED not in done.stdout + done.stderr
    asked = audited(audit_log, '"supporter"')
    resources = {one["objectRef"].get("resource") for one in asked if "objectRef" in one}
    assert {"pods", "inferenceservices"} <= resources
    assert "secrets" not in resources


def test_what_explains_a_failure_is_in_the_bundle(
    operator: OperatorProcess, api: Api, user: User, admin_port: int
) -> None:
    made = inference_service(sklearn={"storageUri": "configmap://nowhere"})
    api.create(user.namespace, made)
    ready_reason(api, user.namespace, "ConfigMapNotFound")
    asking = user.forwarding_to(admin_port, user.folder / "forwarded.log")

    done = asking.types("support-bundle", "--output", "why.tar.gz")

    files = _files(user.folder / "why.tar.gz")
    services = json.loads(files[f"namespaces/{user.namespace}/inferenceservices.json"])
    assert "ConfigMapNotFound" in str(services[0]["status"]["conditions"])
    about = json.loads(files["bundle.json"])
    assert (user.namespace, "pillion-integration") == (about["namespace"], about["context"])
    assert "gitVersion" in files["versions/kubernetes.json"]
    assert "inferenceservices.serving.pillion.dev" in files["versions/definitions.txt"]
    assert "name its own with --operator-namespace" in done.stderr
    assert stat.S_IMODE((user.folder / "why.tar.gz").stat().st_mode) == 0o600


def test_logs_metrics_and_pods_are_in_the_bundle(
    operator: OperatorProcess, api: Api, user: User, admin_port: int
) -> None:
    api.create(user.namespace, inference_service())
    (pod,) = eventually(lambda: api.list("Pod", user.namespace))
    name = pod["metadata"]["name"]
    status = {"status": {"phase": "Running", "containerStatuses": [container("runtime", RUNNING)]}}
    api.patch("Pod", user.namespace, name, status, subresource="status", manager="kubelet")
    api.create(user.namespace, OPERATOR)
    api.patch("Pod", user.namespace, "operator", status, subresource="status", manager="kubelet")
    log = user.folder / "pod.log"
    log.write_text(LOG)
    asking = user.forwarding_to(admin_port, user.folder / "forwarded.log")
    where = ("--operator-namespace", user.namespace)

    done = asking.types("support-bundle", "--output", "all.tar.gz", *where, POD_LOG=str(log))

    assert 0 == done.returncode, done.stderr
    files = _files(user.folder / "all.tar.gz")
    folder = f"namespaces/{user.namespace}"
    assert "is ready after 0.07 s" in files[f"{folder}/logs/{name}/runtime.log"]
    assert "pillion_build_info" in files[f"{folder}/metrics/{name}.txt"]
    assert {f"{folder}/{kind}.json" for kind in ("pods", "deployments", "services", "configmaps", "events")} <= set(
        files
    )
    assert "runtime.yaml" in files[f"{folder}/configmaps.json"]
    assert {"operator/pods.json", "operator/logs/operator/runtime.log", "operator/metrics/operator.txt"} <= set(files)


def test_what_may_not_be_read_is_said_and_the_rest_is_collected(
    cluster: ControlPlane, operator: OperatorProcess, api: Api, user: User
) -> None:
    api.create(user.namespace, inference_service())
    scope = f"--namespace={user.namespace}"
    cluster.kubectl("create", "role", "reader", "--verb=get,list", "--resource=inferenceservices", scope)
    cluster.kubectl("create", "rolebinding", "reader", "--role=reader", "--user=ann", scope)

    done = replace(user, kubeconfig=cluster.kubeconfig_for("ann")).types("support-bundle", "-o", "part.tar.gz")

    assert 0 == done.returncode
    assert f"not collected: namespaces/{user.namespace}/pods: " in done.stderr
    files = _files(user.folder / "part.tar.gz")
    assert f"namespaces/{user.namespace}/inferenceservices.json" in files
    assert "forbidden" in json.loads(files["bundle.json"])["missing"][f"namespaces/{user.namespace}/pods"]


def test_a_file_that_is_there_is_never_written_over(user: User) -> None:
    (user.folder / "there.tar.gz").write_text("mine")

    done = user.types("support-bundle", "-o", "there.tar.gz")

    assert (2, True) == (done.returncode, "there.tar.gz is there already" in done.stderr)
    assert "mine" == (user.folder / "there.tar.gz").read_text()


def _files(archive: Path) -> dict[str, str]:
    """The texts of the archive by their path below its one folder."""
    with tarfile.open(archive) as opened:
        return {
            member.name.partition("/")[2]: file.read().decode()
            for member in opened
            if (file := opened.extractfile(member)) is not None
        }


def _around(text: str) -> str:
    place = text.index(PLANTED)
    return text[max(0, place - 80) : place + 60]
