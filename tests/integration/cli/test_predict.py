"""`pillion predict NAME` and `pillion logs NAME` for an InferenceService: found by a real API server; the pod is a
runtime on this machine, to which a stand-in for kubectl's port-forward leads.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness.certificates import Authority, service_names
from tests.integration.cli.user import User
from tests.integration.operator.harness import inference_service
from tests.unit.cli.command import PORTS, pillion, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.cluster.node.apiserver import ControlPlane
    from tests.models import IrisModels

ROW = "[[5.1,3.5,1.4,0.2]]"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A user whose kubectl forwards to servers of this machine."""

    user: User
    control_plane: ControlPlane

    def has(self, name: str, *, scheme: str = "http", ready: int = 1, **tls: str | bool) -> None:
        """Make an InferenceService with the status that an operator would write."""
        made = inference_service(name)
        if tls:
            made["spec"]["predictor"]["tls"] = tls
        self.apply(made)
        verdict = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "reason": "Loaded" if ready else "ModelLoadFailed",
            "message": "1 of 1 pods are available." if ready else "the file is corrupt; upload it again.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        url = f"{scheme}://{name}-predictor.{self.user.namespace}.svc.cluster.local"
        replicas = {"ready": ready, "desired": 1, "summary": f"{ready}/1"}
        status: dict[str, Any] = {"url": url, "address": {"url": url}, "conditions": [verdict], "replicas": replicas}
        scope = (f"--namespace={self.user.namespace}", "--subresource=status", "--type=merge")
        self.control_plane.kubectl("patch", "pisvc", name, *scope, f"--patch={json.dumps({'status': status})}")

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        for manifest in manifests:
            self.control_plane.kubectl(
                "apply", f"--namespace={self.user.namespace}", "-f", "-", stdin=json.dumps(manifest)
            )

    @property
    def log(self) -> Path:
        return self.user.folder / "forwarded.log"

    def predicts(self, port: int, *arguments: str) -> Any:
        """Run `pillion predict` with port-forwards that lead to the port."""
        return self.user.forwarding_to(port, self.log).types("predict", *arguments)


@pytest.fixture
def reachable(installed: ControlPlane, kubectl: Path, tmp_path: Path, namespace_of_installed: str) -> Cluster:
    """A cluster without an operator, whose part the tests play."""
    return Cluster(User(installed.kubeconfig, kubectl, namespace_of_installed, tmp_path), installed)


@pytest.fixture
def namespace_of_installed(installed: ControlPlane, request: pytest.FixtureRequest) -> str:
    name = f"predict-{abs(hash(request.node.name)) % 10**8}"
    installed.kubectl("create", "namespace", name)
    return name


@pytest.fixture(scope="module")
def plain(iris: IrisModels) -> Iterator[dict[str, int]]:
    """A runtime that serves the model iris; its ports."""
    with serving("--json", f"iris={iris.skops}", *PORTS) as lines:
        yield json.loads(lines[0])["ports"]


@pytest.mark.parametrize(("flags", "port", "service_port"), [((), "http", ":80"), (("--grpc",), "grpc", ":8081")])
def test_the_service_is_found_and_called_through_a_forwarded_port(
    flags: tuple[str, ...], port: str, service_port: str, reachable: Cluster, plain: dict[str, int]
) -> None:
    reachable.has("iris")

    done = reachable.predicts(plain[port], "iris", "--data", ROW, *flags)

    assert (0, "[0]\n") == (done.returncode, done.stdout), done.stderr
    assert f"InferenceService iris, namespace {reachable.user.namespace}, context pillion-integration" in done.stderr
    assert reachable.log.read_text().splitlines() == [
        f"port-forward --address=127.0.0.1 service/iris-predictor {service_port}"
    ]


def test_a_service_that_is_not_ready_says_why_instead_of_a_refused_connection(reachable: Cluster) -> None:
    reachable.has("iris", ready=0)

    done = reachable.predicts(1, "iris", "--data", ROW)

    assert 1 == done.returncode
    assert "iris is not ready: ModelLoadFailed: the file is corrupt; upload it again." in done.stderr
    assert "pillion status iris" in done.stderr


def test_a_forward_that_is_refused_says_what_kubectl_said(reachable: Cluster) -> None:
    reachable.has("iris")

    done = reachable.user.types("predict", "iris", "--data", ROW)

    assert 5 == done.returncode
    assert 'services "iris-predictor" not found' in done.stderr


def test_a_model_that_is_nowhere_says_that_it_was_looked_for_here_and_in_the_cluster(reachable: Cluster) -> None:
    done = pillion("predict", "nowhere", "--data", ROW, env=reachable.user.environment)

    assert 5 == done.returncode
    assert (
        "no server on 127.0.0.1:8080 has the model nowhere (--url names another), and in the cluster: " in done.stderr
    )
    assert "no InferenceService is called nowhere in namespace default" in done.stderr


def test_a_url_and_a_cluster_exclude_each_other(reachable: Cluster) -> None:
    done = reachable.user.types("predict", "iris", "--data", ROW, "--url", "http://127.0.0.1:1")

    assert (2, True) == (done.returncode, "give one of them" in done.stderr)


def test_the_certificate_is_checked_for_the_services_own_name_against_the_ca_in_its_secret(
    reachable: Cluster, iris: IrisModels, tmp_path: Path
) -> None:
    namespace = reachable.user.namespace
    authority = Authority()
    pair = authority.server(service_names("iris-predictor", namespace))
    (tmp_path / "tls.crt").write_text(pair.certificate)
    (tmp_path / "tls.key").write_text(pair.key)
    files = ("--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key"))
    reachable.has("iris", scheme="https", secretName="iris-tls")
    with serving("--json", f"iris={iris.skops}", *PORTS, *files) as lines:
        ports = json.loads(lines[0])["ports"]
        untrusted = reachable.predicts(ports["http"], "iris", "--data", ROW)
        reachable.apply(_secret("iris-tls", authority.certificate))
        by_secret = [
            reachable.predicts(ports[port], "iris", "--data", ROW, *flags)
            for port, flags in (("http", ()), ("grpc", ("--grpc",)))
        ]

    assert (1, True) == (untrusted.returncode, "name the CA with --ca" in untrusted.stderr)
    assert ["[0]\n", "[0]\n"] == [done.stdout for done in by_secret], by_secret


def test_logs_of_a_service_whose_pods_have_not_begun_say_so(reachable: Cluster) -> None:
    reachable.has("iris")

    done = reachable.user.types("logs", "iris")

    assert (5, True) == (done.returncode, "iris has no pods: see `pillion status iris`" in done.stderr)


def test_the_ca_of_a_certificate_that_the_operator_makes_is_read_by_who_may_read_no_secrets(
    reachable: Cluster, iris: IrisModels, tmp_path: Path
) -> None:
    authority = Authority()
    pair = authority.server(service_names("iris-predictor", reachable.user.namespace))
    (tmp_path / "tls.crt").write_text(pair.certificate)
    (tmp_path / "tls.key").write_text(pair.key)
    files = ("--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key"))
    reachable.has("iris", scheme="https", selfSigned=True)
    metadata = {"name": "iris-predictor-ca"}
    told = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": authority.certificate}}
    reachable.apply(told)
    with serving("--json", f"iris={iris.skops}", *PORTS, *files) as lines:
        done = reachable.predicts(json.loads(lines[0])["ports"]["http"], "iris", "--data", ROW)

    assert (0, "[0]\n") == (done.returncode, done.stdout), done.stderr


def test_as_kubectls_plugin_it_means_the_cluster(reachable: Cluster) -> None:
    environment = reachable.user.environment
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    reachable.has("iris")
    done = subprocess.run(
        ["kubectl", "pillion", "status", "iris", "-n", reachable.user.namespace],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    usage = subprocess.run(
        ["kubectl", "pillion", "--help"], env=environment, capture_output=True, text=True, check=False
    )

    assert (0, True) == (done.returncode, "iris is Ready" in done.stdout), done.stderr
    assert "Usage: kubectl pillion" in usage.stdout


def test_names_are_completed_from_the_cluster(reachable: Cluster) -> None:
    reachable.has("iris")
    script = pillion("completion", "bash").stdout
    line = f"pillion status -n {reachable.user.namespace} ir"
    ask = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD=4; _pillion_completion pillion; echo "${{COMPREPLY[@]}}"'
    environment = reachable.user.environment
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    done = subprocess.run(["bash", "-c", ask], env=environment, capture_output=True, text=True, check=True)

    assert "iris" == done.stdout.strip()


def _secret(name: str, ca: str) -> dict[str, Any]:
    data = {"ca.crt": base64.b64encode(ca.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
