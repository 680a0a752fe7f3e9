"""A real Gateway in front: the URL is true, weights hold to the request whatever the pods are, and nothing is lost."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from e2e.harness import gateway, manifests, models
from e2e.harness.certificates import service_names
from e2e.harness.stage import infer_request
from e2e.harness.waiting import eventually
from e2e.harness.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.harness.gateway import Edge
    from e2e.harness.load import Load
    from e2e.harness.release import Release
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_HOST: Final = "iris.example.com"
_HOSTS: Final = {"http": _HOST, "grpc": "iris-grpc.example.com"}
_PROTOCOLS: Final = tuple(_HOSTS)
#: What each version says of the one flower that is asked about.
_VERSIONS: Final = (0, 10, 20)
_TRUSTED: Final = "/certificates/ca.crt"
#: Requests of each protocol by which a share is measured, and a second.
_MEASURED: Final = 4000
_RATE: Final = 100
#: Seconds that Envoy gives a request where a route says nothing.
_DEFAULT_LIMIT: Final = 15
#: How often a share is given and taken away again.
_TURNS: Final = 3
#: Standard deviations that a share may be off by: once in 15,000 runs for requests that were shared out by chance.
_SPREAD: Final = 4


@dataclass(frozen=True, slots=True)
class Outside:
    """A namespace with the service `iris`, and the Gateway by which it is reached."""

    stage: Stage
    edge: Edge

    def load(self, protocol: str, *options: str, name: str = "load") -> Load:
        """Start load by the Gateway, over TLS, whose answers are told apart by the version that gave them."""
        return self.stage.load(
            f"{name}-{protocol}", protocol, "iris", tls=True, rate=_RATE, at=f"{self.edge.address}:443",
            options=[f"--host={_HOSTS[protocol]}", *_told_apart(protocol), *options],
        )  # fmt: skip  # where to, then how

    def answers(self, protocol: str, requests: int, *options: str) -> dict[str, int]:
        """Send so many requests, of which none may fail, and return how many each version answered."""
        load = self.load(protocol, f"--requests={requests}", *options, name="count")
        result = load.result(within=requests / _RATE + 60)
        assert (result.requests, result.failed) == (requests, 0), result.examples
        return result.answers

    def predict(self, service: str = "iris") -> Any:  # noqa: ANN401  # JSON
        """Ask at the URL that the status tells, and return what the model says of the flower."""
        url = self.status(service)["url"]
        host = url.removeprefix("https://").partition("/")[0]
        done = self.stage.client(
            "curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "10", "--cacert", _TRUSTED,
            "--resolve", f"{host}:443:{self.edge.address}", "--header", "Content-Type: application/json",
            "--data", infer_request(), f"{url}/v2/models/{service}/infer",
        )  # fmt: skip  # option and value read as pairs
        return json.loads(done.stdout)["outputs"][0]["data"]

    def status(self, service: str = "iris") -> dict[str, Any]:
        return (self.stage.get("pisvc", service) or {}).get("status", {})  # type: ignore[no-any-return]  # JSON

    def change(self, **predictor: object) -> None:
        """Change the predictor; None takes a field away."""
        self.stage.patch("pisvc", "iris", {"spec": {"predictor": predictor}})

    def release(self, version: int, *, percent: int) -> None:
        """Give a version a share, and wait until the Gateway has taken it up."""
        self.change(model={"storageUri": _uri(version)}, canaryTrafficPercent=percent)
        self.wait_share(percent)

    def wait_share(self, percent: int, *, within: float = 120) -> None:
        eventually(
            lambda: self.status().get("canary", {}),
            lambda seen: (seen.get("requested"), seen.get("actual")) == (percent, percent),
            within=within,
            what=f"the newest version has {percent} %",
        )

    def newest(self) -> list[str]:
        """Return the pods of the newest version that are ready, by name."""
        return [
            pod["metadata"]["name"]
            for pod in self.stage.pods("iris")
            if pod["metadata"]["labels"].get("serving.pillion.dev/variant") == "canary"
            and any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])
        ]

    def wait_gone(self) -> None:
        """Wait until there are no pods beside those of the version that serves."""
        eventually(
            lambda: self.stage.get("deployment", "iris-predictor-canary"),
            lambda seen: seen is None,
            within=180,
            what="the Deployment beside is gone",
        )

    def wait_alone(self) -> None:
        """Wait until one version has all requests, and all pods."""
        self.wait_gone()
        self.stage.wait_rolled_out("iris", old_gone=True)


@pytest.fixture(scope="module")
def outside(new_stage: Callable[[str], Stage], release: Release) -> Iterator[Outside]:
    """One service of one pod behind a Gateway; each scenario goes on where the last one ended."""
    stage = new_stage("gateway")
    with gateway.gateway(stage.target, "example.com", stage.authority.server(["*.example.com"])) as edge:
        stage.apply(*(manifests.config_map(f"iris-{shift}", models.iris(shift=shift)) for shift in _VERSIONS))
        made = manifests.inference_service("iris", _uri(0))
        made["spec"]["networking"] = {
            "gateway": edge.reference("https"),
            "hosts": [_HOST],
            "grpcHosts": [_HOSTS["grpc"]],
        }
        stage.apply(made)
        _wait_outside(stage, "iris")
        # kube-proxy knows an address a moment after the Gateway says that it has it.
        stage.client(
            "curl", "--silent", "--output", "/dev/null", "--insecure", "--retry", "60", "--retry-delay", "1",
            "--retry-all-errors", "--connect-timeout", "1", f"https://{_HOST}/v2/health/live",
            "--resolve", f"{_HOST}:443:{edge.address}",
        )  # fmt: skip  # how often, then where
        yield Outside(stage, edge)


def test_the_url_in_the_status_is_where_the_gateway_answers(outside: Outside) -> None:
    status = outside.status()

    assert f"https://{_HOST}" == status["url"]
    assert f"grpcs://{_HOSTS['grpc']}:443" == status["components"]["predictor"]["grpcUrl"]
    assert outside.predict() == [0]
    assert outside.answers("grpc", 20) == {"0": 20}


def test_a_host_that_no_listener_has_is_told_in_the_gateways_words(outside: Outside) -> None:
    made = manifests.inference_service("elsewhere", _uri(0))
    made["spec"]["networking"] = {"gateway": outside.edge.reference("https"), "hosts": ["iris.example.org"]}
    outside.stage.apply(made)

    seen = outside.stage.wait_reason("elsewhere", "RouteNotAccepted", kind="RoutesReady")

    assert "NoMatchingListenerHostname" in seen["message"]
    outside.stage.delete("pisvc", "elsewhere")


def test_two_services_share_a_host_below_paths_that_the_gateway_takes_off(outside: Outside) -> None:
    names = {"below": 10, "beside": 20}
    for name, version in names.items():
        made = manifests.inference_service(name, _uri(version))
        made["spec"]["networking"] = {
            "gateway": outside.edge.reference("https"),
            "hosts": ["models.example.com"],
            "path": "/{{.Namespace}}/{{.Name}}",
        }
        outside.stage.apply(made)
    for name in names:
        _wait_outside(outside.stage, name)

    urls = [outside.status(name)["url"] for name in names]
    assert urls == [f"https://models.example.com/{outside.stage.namespace}/{name}" for name in names]
    assert {name: outside.predict(name) for name in names} == {name: [version] for name, version in names.items()}
    for name in names:
        outside.stage.delete("pisvc", name)


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_a_request_that_takes_longer_than_the_gateway_grants_by_default_is_answered(
    outside: Outside, report: Report, protocol: str
) -> None:
    stage, name, host = outside.stage, f"asleep-{protocol}", f"asleep-{protocol}.example.com"
    # What takes so long is a pod that starts for the request.
    quiet = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 4}}}
    made = manifests.inference_service(
        name, _uri(10), minReplicas=0, autoScaling=quiet, initContainers=[_sleeper(stage.target.image("runtime"))]
    )
    hosts = {"hosts": [host]} if protocol == "http" else {"hosts": ["asleep.example.com"], "grpcHosts": [host]}
    made["spec"]["networking"] = {"gateway": outside.edge.reference("https"), **hosts}
    stage.apply(made)
    if protocol == "grpc":
        stage.apply(gateway.unlimited(f"{name}-predictor"))
    _wait_outside(stage, name)
    stage.wait_reason(name, "ScaledToZero", status="True", within=120)
    eventually(lambda: stage.pods(name), lambda pods: not pods, within=90, what="the last pod is gone")

    result = stage.load(
        f"wake-{protocol}", protocol, name, tls=True, rate=1, patience=120,
        at=f"{outside.edge.address}:443", options=["--requests=1", f"--host={host}", *_told_apart(protocol)],
    ).result(within=150)  # fmt: skip  # what, then where to and how

    report.add(f"gateway-wakes-{protocol}", seconds=round(result.latency["max"] / 1000, 1), failed=result.failed)
    stage.delete("pisvc", name)
    assert result.answers == {"10": 1}, result.examples
    assert result.latency["max"] > 1000 * _DEFAULT_LIMIT


def test_a_tenth_is_a_tenth_of_the_requests_though_half_of_the_pods_are_of_the_newest_version(
    outside: Outside, report: Report
) -> None:
    outside.release(10, percent=10)

    loads = {name: outside.load(name, f"--requests={_MEASURED}") for name in _PROTOCOLS}
    results = {name: load.result(within=_MEASURED / _RATE + 60) for name, load in loads.items()}
    inside = outside.stage.load(
        "inside", "http", "iris", tls=False, rate=_RATE, options=["--requests=600", "--fresh=100", *_told_apart("http")]
    ).result(within=90)

    status = outside.status()["canary"]
    for name, result in results.items():
        share = round(100 * result.answers.get("10", 0) / result.requests, 2)
        report.add(f"gateway-share-{name}", requested_percent=10, share_percent=share, **result.figures())
    report.add(
        "gateway-share-by-cluster-dns",
        requests=inside.requests, failed=inside.failed, share_percent=round(inside.answers["10"] / 6, 2),
    )  # fmt: skip  # as the others
    assert status == {
        "requested": 10,
        "actual": 10,
        "mechanism": "weights: 10 of 100 at the Gateway; by cluster DNS replicas: 1 of 2 pods",
    }
    for result in results.values():
        assert (result.requests, result.failed) == (_MEASURED, 0), result.examples
        assert {"0", "10"} == set(result.answers)
        assert abs(result.answers["10"] - _MEASURED / 10) <= _SPREAD * math.sqrt(_MEASURED * 0.1 * 0.9)
    # By pods it would be a half: what is counted above is the Gateway's doing.
    assert abs(inside.answers["10"] - 300) <= _SPREAD * math.sqrt(600 / 4)


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_testers_choose_a_version_by_a_header(outside: Outside, report: Report, protocol: str) -> None:
    newest = outside.answers(protocol, 300, "--header=pillion-variant=canary")
    last_good = outside.answers(protocol, 300, "--header=pillion-variant=stable")

    report.add(f"gateway-header-{protocol}", canary=newest, stable=last_good)
    assert newest == {"10": 300}
    assert last_good == {"0": 300}


def test_a_version_is_promoted_step_by_step_without_a_failed_request(outside: Outside, report: Report) -> None:
    loads = {name: outside.load(name) for name in _PROTOCOLS}

    outside.change(canaryTrafficPercent=50)
    outside.wait_share(50)
    outside.change(canaryTrafficPercent=None)
    outside.wait_alone()

    _finish(loads, report, "gateway-promotion")
    assert [outside.answers(name, 100) for name in _PROTOCOLS] == [{"10": 100}] * 2
    assert outside.predict() == [10]


def test_a_version_loses_its_share_without_a_failed_request(outside: Outside, report: Report) -> None:
    loads = {name: outside.load(name) for name in _PROTOCOLS}

    for _ in range(_TURNS):
        outside.release(20, percent=50)
        outside.change(canaryTrafficPercent=0)
        outside.wait_gone()

    results = _finish(loads, report, "gateway-share-taken-away")
    assert all(result.get("20", 0) > 0 for result in results)
    assert [outside.answers(name, 100) for name in _PROTOCOLS] == [{"10": 100}] * 2


def test_a_version_that_does_not_start_gets_no_request_and_is_rolled_back(outside: Outside, report: Report) -> None:
    outside.stage.apply(manifests.config_map("broken", models.corrupt_iris()))
    loads = {name: outside.load(name) for name in _PROTOCOLS}

    outside.change(
        model={"storageUri": "configmap://broken/model.skops"},
        canaryTrafficPercent=10,
        rollout={"progressDeadline": "30s"},
    )
    outside.stage.wait_reason("iris", "RolledBack", within=180)

    results = _finish(loads, report, "gateway-roll-back")
    outside.change(rollout=None)
    assert [set(result) for result in results] == [{"10"}] * 2


def test_a_pod_of_the_newest_version_that_is_deleted_loses_no_request(outside: Outside, report: Report) -> None:
    outside.release(20, percent=10)
    loads = {name: outside.load(name) for name in _PROTOCOLS}

    deleted = outside.newest()
    for name in deleted:
        outside.stage.delete("pod", name, "--wait=false")
    eventually(
        outside.newest,
        lambda names: len(names) == 1 and not set(names) & set(deleted),
        within=90,
        what="another pod of the newest version has taken the deleted one's place",
    )
    outside.wait_share(10)

    _finish(loads, report, "gateway-newest-deleted")
    assert len(deleted) == 1


def test_steps_go_by_what_pods_count_and_end_without_a_failed_request(outside: Outside, report: Report) -> None:
    outside.change(canaryTrafficPercent=0)
    outside.wait_gone()
    loads = {name: outside.load(name) for name in _PROTOCOLS}

    with Watch(outside.stage.target, outside.stage.namespace, "pisvc", "iris", seconds=300) as watch:
        outside.change(
            model={"storageUri": _uri(0)},
            canaryTrafficPercent=None,
            rollout={"steps": [{"weight": 10}, {"weight": 50}], "analysis": {"errorRate": "5%", "window": "10s"}},
        )
        eventually(
            lambda: outside.stage.get("deployment", "iris-predictor-canary"), bool, within=60, what="the newest runs"
        )
        outside.wait_alone()
        seen = [state["status"].get("canary", {}) for state in watch.states()]

    _finish(loads, report, "gateway-steps")
    outside.change(rollout=None)
    steps = [(one.get("step"), one.get("actual")) for one in seen if one.get("actual") == one.get("requested")]
    assert {("1 of 2", 10), ("2 of 2", 50)} <= set(steps), seen
    assert outside.predict() == [0]


def test_the_only_pod_that_ends_at_once_loses_requests_so_the_count_can_fail(outside: Outside) -> None:
    loads = {name: outside.load(name) for name in _PROTOCOLS}

    for pod in outside.stage.pods("iris"):
        outside.stage.delete("pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
    failed = [load.finish(least=1000, within=60).failed for load in loads.values()]

    assert all(failed)


def test_tls_that_is_handed_on_ends_in_the_pod_and_is_shared_by_connections(outside: Outside, report: Report) -> None:
    stage, host = outside.stage, "through.example.net"
    pair = stage.authority.server([host, *service_names("through-predictor", stage.namespace)])
    stage.apply(manifests.tls_secret("through-tls", pair))
    made = manifests.inference_service("through", _uri(0), tls="through-tls")
    made["spec"]["networking"] = {
        "gateway": outside.edge.reference("passthrough"),
        "hosts": [host],
        "tls": {"mode": "Passthrough"},
    }
    stage.apply(made)
    ready = _wait_outside(stage, "through")
    assert f"https://{host}:{gateway.PASSTHROUGH_PORT}" == ready["status"]["url"]

    stage.patch(
        "pisvc", "through", {"spec": {"predictor": {"model": {"storageUri": _uri(10)}, "canaryTrafficPercent": 10}}}
    )
    eventually(
        lambda: (stage.get("pisvc", "through") or {}).get("status", {}).get("canary", {}),
        lambda seen: seen.get("actual") == 10,
        within=120,
        what="the newest version has 10 %",
    )
    result = stage.load(
        "load-through", "http", "through", tls=True, rate=50,
        at=f"{outside.edge.address}:{gateway.PASSTHROUGH_PORT}",
        options=["--requests=1500", "--fresh=100", f"--host={host}", *_told_apart("http")],
    ).result(within=120)  # fmt: skip  # where to, then how

    share = round(100 * result.answers.get("10", 0) / result.requests, 2)
    report.add("gateway-share-passthrough", requested_percent=10, share_percent=share, **result.figures())
    assert (result.requests, result.failed) == (1500, 0), result.examples
    assert {pair.serial: 1500} == result.certificates
    assert abs(result.answers["10"] - 150) <= _SPREAD * math.sqrt(1500 * 0.1 * 0.9)


def _wait_outside(stage: Stage, service: str) -> dict[str, Any]:
    """Wait until the pods are there and the Gateway has taken up the routes to them, and return the object."""
    stage.wait_reason(service, "Routed", kind="RoutesReady", status="True", within=180)
    return stage.wait_ready(service, within=180)


def _sleeper(image: str) -> dict[str, Any]:
    """Return a container that keeps a pod from starting for longer than Envoy's default limit."""
    return {
        "name": "sleeper",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", f"import time; time.sleep({_DEFAULT_LIMIT + 5})"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _uri(version: int) -> str:
    return f"configmap://iris-{version}/model.skops"


def _told_apart(protocol: str) -> list[str]:
    """Return the options by which loadgen counts the answers of each version."""

    def part(version: int) -> bytes:
        # JSON, or the field of the Open Inference Protocol that holds one integer.
        return f'"data":[{version}]'.encode() if protocol == "http" else bytes([0x1A, 1, version])

    return [f"--answer={version}={base64.b64encode(part(version)).decode()}" for version in _VERSIONS]


def _finish(loads: dict[str, Load], report: Report, scenario: str) -> list[dict[str, int]]:
    """End the load, of which nothing may have failed, and return how many requests each version answered."""
    results = {name: load.finish(least=1000, within=60) for name, load in loads.items()}
    for name, result in results.items():
        report.add(f"{scenario}-{name}", answers=result.answers, **result.figures())
    for name, result in results.items():
        assert (result.failed, result.failures) == (0, {}), f"{name}: {result.examples}"
    return [result.answers for result in results.values()]
