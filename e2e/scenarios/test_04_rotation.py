"""The TLS Secret is replaced under load: the new certificate is served, nothing restarts, no handshake fails."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.certificates import Pair, service_names
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

#: The kubelet looks at mounted Secrets about once a minute.
_SYNC = 100


@pytest.mark.parametrize(
    ("rotations", "requests"),
    [pytest.param(1, 3000, marks=pytest.mark.smoke), pytest.param(3, 20000, marks=pytest.mark.full)],
)
def test_a_rotated_secret_is_served_without_a_restart_or_a_failed_handshake(
    stage: Stage, report: Report, rotations: int, requests: int
) -> None:
    first = stage.issue("iris", "iris-tls")
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops", tls="iris-tls", minReplicas=2))
    stage.wait_ready("iris")
    stage.wait_rolled_out("iris")
    before = _lives(stage)
    loads = {protocol: stage.load(f"load-{protocol}", protocol, "iris", tls=True, rate=100) for protocol in _PROTOCOLS}

    pairs, seconds = [first], []
    for _ in range(rotations):
        start = time.monotonic()
        pairs.append(stage.issue("iris", "iris-tls"))
        _wait_shown(stage, pairs[-1])
        seconds.append(round(time.monotonic() - start, 1))
    results = {name: load.finish(least=requests // 2, within=requests / 100 + 60) for name, load in loads.items()}

    assert before == _lives(stage), "a pod was replaced or restarted"
    for name, result in results.items():
        report.add(f"rotation-{name}", rotations=rotations, seconds_until_served=seconds, **result.figures())
    for name, result in results.items():
        assert (result.failed, result.failures) == (0, {}), f"{name}: {result.examples}"
        assert {pair.serial for pair in pairs} == set(result.certificates), f"{name} did not see every certificate"


@pytest.mark.full
def test_a_torn_pair_keeps_the_old_certificate_and_says_so(stage: Stage) -> None:
    first = stage.issue("iris", "iris-tls")
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops", tls="iris-tls"))
    stage.wait_ready("iris")
    names = service_names("iris-predictor", stage.namespace)
    torn = stage.authority.server(names)
    stage.apply(
        manifests.tls_secret("iris-tls", Pair(torn.certificate, stage.authority.server(names).key, torn.serial))
    )

    (pod,) = stage.pods("iris")
    logs = ("logs", pod["metadata"]["name"], f"--namespace={stage.namespace}")
    eventually(
        lambda: stage.target.kubectl(*logs),
        lambda text: "kept the certificate in use" in text,
        within=_SYNC,
        what="the runtime says that it keeps the old pair",
        every=1,
    )
    # The operator looks at good certificates every five minutes; a change of the object makes it look now.
    eventually(
        lambda: _touched_messages(stage),
        lambda messages: "tls.key does not belong to tls.crt" in messages,
        within=90,
        what="the status says what is wrong with the pair",
        every=5,
    )
    assert stage.condition("iris")["status"] == "True", "the old pair serves on"
    assert {first.serial} == _shown(stage)
    assert stage.predict("iris", scheme="https")["data"] == [0]
    mended = stage.issue("iris", "iris-tls")
    _wait_shown(stage, mended)


_PROTOCOLS = ("http", "grpc")


def _touched_messages(stage: Stage) -> str:
    stage.patch("pisvc", "iris", {"metadata": {"annotations": {"touched": str(time.monotonic_ns())}}})
    conditions = (stage.get("pisvc", "iris") or {}).get("status", {}).get("conditions", [])
    return " ".join(condition.get("message", "") for condition in conditions)


def _lives(stage: Stage) -> set[tuple[str, int]]:
    return {
        (pod["metadata"]["uid"], sum(status["restartCount"] for status in pod["status"]["containerStatuses"]))
        for pod in stage.pods("iris")
    }


def _wait_shown(stage: Stage, pair: Pair) -> None:
    eventually(
        lambda: _shown(stage),
        lambda shown: shown == {pair.serial},
        within=_SYNC,
        what="every pod shows the new certificate on both ports",
        every=1,
    )


def _shown(stage: Stage) -> set[str]:
    """The serial numbers of the certificates that the pods show now, on the HTTPS and on the gRPC port."""
    addresses = [pod["status"]["podIP"] for pod in stage.pods("iris")]
    script = "; ".join(
        f"openssl s_client -connect {address}:{port} </dev/null 2>/dev/null | openssl x509 -noout -serial"
        for address, port in itertools.product(addresses, (8080, 8081))
    )
    lines = stage.client("sh", "-c", script, check=False).stdout.splitlines()
    return {line.removeprefix("serial=").lower().lstrip("0") for line in lines}
