"""The example with a sidecar as it stands, and an application whose runtime ends before it, with it and after it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.harness import manifests, models
from e2e.harness.release import NAMESPACE, OPERATOR, Release
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.harness.manifests import Manifest
    from e2e.harness.stage import Stage
    from e2e.harness.target import Target

pytestmark = pytest.mark.full

_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sidecar"
_LABEL = "serving.pillion.dev/sidecar"
_ADDRESS = "unix:///run/pillion-sidecar/http.sock"
#: An application that asks on while it is being ended, and tells how that went where its container ended.
_LAST_WORDS = """
import pathlib, signal, threading, time
import pillion

ending = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ending.set())
with pillion.Client() as client:
    print("started", client.predict([[5.1, 3.5, 1.4, 0.2]]), flush=True)
    ending.wait()
    answers = []
    for _ in range(20):
        time.sleep(0.2)
        answers.append(client.predict([[5.1, 3.5, 1.4, 0.2]]))
pathlib.Path("/dev/termination-log").write_text(f"{len(answers)} answers {answers[-1]}")
"""


@pytest.fixture(scope="module")
def stage(target: Target, new_stage: Callable[[str], Stage]) -> Iterator[Stage]:
    """A namespace with a model and the application; the injector is switched off again afterwards."""
    release = Release(target)
    release.ensure("--set=sidecarInjector.enabled=true")
    made = new_stage("sidecar")
    made.apply(
        manifests.config_map("iris", models.iris()),
        manifests.config_map(
            "flowers", text={"flowers.py": (_EXAMPLE / "flowers.py").read_text(), "last_words.py": _LAST_WORDS}
        ),
    )
    yield made
    release.ensure()


def _documents(stage: Stage) -> tuple[Manifest, Manifest]:
    """The example's service and Job, with the image that this cluster has."""
    service, job = yaml.safe_load_all((_EXAMPLE / "flowers.yaml").read_text())
    job["spec"]["template"]["spec"]["containers"][0]["image"] = stage.target.image("runtime")
    return service, job


def _application(stage: Stage, name: str, *command: str, labels: dict[str, str] | None = None) -> Manifest:
    made = manifests.pod(
        name,
        stage.target.image("runtime"),
        command,
        config_maps={"flowers": "/code"},
        labels={_LABEL: "iris"} if labels is None else labels,
    )
    made["spec"]["terminationGracePeriodSeconds"] = 30
    return made


def _statuses(stage: Stage, name: str) -> dict[str, Any]:
    """What the kubelet says of each container of a pod, the sidecar among them."""
    status = (stage.get("pod", name) or {}).get("status", {})
    return {
        one["name"]: one for one in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", []))
    }


def _said(stage: Stage, name: str) -> list[str]:
    return stage.target.kubectl("logs", name, f"--container={name}", f"--namespace={stage.namespace}").splitlines()


def test_the_job_of_the_example_completes_with_its_sidecar(stage: Stage) -> None:
    stage.apply(*_documents(stage))
    scope = f"--namespace={stage.namespace}"
    stage.target.kubectl("wait", "job/flowers", "--for=condition=Complete", "--timeout=180s", scope)
    said = stage.target.kubectl("logs", "job/flowers", "--container=flowers", scope).splitlines()
    assert [line.split(" ", 1)[0] for line in said] == ["1", "2", "3"]
    (pod,) = stage.items("pods", "job-name=flowers")
    ended = {one["name"]: one["state"]["terminated"] for one in pod["status"]["initContainerStatuses"]}
    assert {name: one["exitCode"] for name, one in ended.items()} == {"pillion-storage": 0, "pillion-runtime": 0}


def test_an_application_outlives_its_runtime(stage: Stage) -> None:
    stage.apply(_documents(stage)[0], _application(stage, "shop", "python", "/code/flowers.py", "100000"))
    scope = f"--namespace={stage.namespace}"
    stage.target.kubectl("wait", "pod/shop", "--for=condition=Ready", "--timeout=180s", scope)
    # The runtime ends by itself, as by a fault; the kubelet starts it anew beside the application.
    end = "import os, signal; os.kill(1, signal.SIGTERM)"
    stage.target.kubectl("exec", "shop", "--container=pillion-runtime", scope, "--", "python", "-c", end)
    eventually(
        lambda: _statuses(stage, "shop")["pillion-runtime"],
        lambda one: one["restartCount"] == 1 and one["ready"],
        within=90,
        what="the runtime was started anew",
    )
    before = len(_said(stage, "shop"))
    eventually(lambda: len(_said(stage, "shop")), lambda lines: lines > before + 5, within=30, what="it goes on")
    assert _statuses(stage, "shop")["shop"]["restartCount"] == 0
    assert all(re.fullmatch(r"\d+ \[\d, \d\]", line) for line in _said(stage, "shop"))


def test_the_sidecar_answers_until_the_application_has_ended(stage: Stage) -> None:
    pod = _application(stage, "words", "python", "/code/last_words.py")
    # So that what the containers said can be read when they have ended.
    pod["metadata"]["finalizers"] = ["pillion.dev/e2e"]
    stage.apply(_documents(stage)[0], pod)
    try:
        eventually(
            lambda: _statuses(stage, "words").get("words", {}), lambda one: one.get("ready"), within=120, what="up"
        )
        eventually(lambda: _said(stage, "words"), lambda lines: lines != [], within=30, what="it has asked once")
        stage.delete("pod", "words", "--wait=false")
        ended = eventually(
            lambda: {name: one["state"].get("terminated") for name, one in _statuses(stage, "words").items()},
            lambda states: all(states.values()),
            within=90,
            what="all containers have ended",
        )
        assert ended["words"]["message"] == "20 answers [0]"
        assert ended["pillion-runtime"]["exitCode"] == 0
        assert ended["pillion-runtime"]["finishedAt"] >= ended["words"]["finishedAt"]
    finally:
        stage.patch("pod", "words", {"metadata": {"finalizers": None}})


def test_a_bad_annotation_is_refused_with_its_remedy(stage: Stage) -> None:
    wrong = _application(stage, "wrong", "true")
    wrong["metadata"]["annotations"] = {"serving.pillion.dev/sidecar-containers": "web"}
    with pytest.raises(AssertionError, match=r"names 'web', which is no container of the pod: write some of wrong"):
        stage.apply(_documents(stage)[0], wrong)


def test_an_operator_that_is_gone_harms_nobody_without_the_label(stage: Stage) -> None:
    kubectl, scope = stage.target.kubectl, f"--namespace={NAMESPACE}"
    kubectl("scale", f"deployment/{OPERATOR}", "--replicas=0", scope)
    try:
        eventually(Release(stage.target).pods, lambda pods: not pods, within=60, what="the operator is gone")
        stage.apply(_application(stage, "plain", "true", labels={}))
        with pytest.raises(AssertionError, match=r"sidecar[.]serving[.]pillion[.]dev"):
            stage.apply(_application(stage, "labelled", "true"))
    finally:
        kubectl("scale", f"deployment/{OPERATOR}", "--replicas=2", scope)
        kubectl("rollout", "status", f"deployment/{OPERATOR}", "--timeout=90s", scope)


def test_pods_are_given_their_address_by_the_service_of_the_webhook(stage: Stage) -> None:
    made = eventually(
        lambda: stage.target.kubectl.run("create", "--dry-run=server", "--output=yaml", "--filename=-",
                                         f"--namespace={stage.namespace}",
                                         stdin=yaml.safe_dump(_application(stage, "asked", "true"))),
        lambda done: done.status == 0,
        within=60,
        what="the webhook answers",
    )  # fmt: skip  # option and value read as pairs
    variables = yaml.safe_load(made.stdout)["spec"]["containers"][0]["env"]
    assert {"name": "PILLION_URL", "value": _ADDRESS} in variables
