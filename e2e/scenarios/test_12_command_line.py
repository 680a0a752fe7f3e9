"""The command line against a cluster, as its guide says: from a new project to an answer, and what it says of trouble.

Integration tests hold what an API server alone can show; here pods run, say something, and are forwarded to.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node import images
from e2e.harness import manifests, models, registry
from e2e.harness.models import SETOSA
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

README = Path(__file__).parents[2] / "README.md"
ROW = json.dumps([SETOSA])
_SECONDS = 240
#: What somebody adds to the class of `pillion new --template python`, so that it answers predictions too.
_PREDICT = '''
    def predict(self, text: list[str]) -> list[int]:
        """Tell the mood of each text."""
        return [self.classify(each) for each in text]
'''


@dataclass(frozen=True, slots=True)
class Terminal:
    """Somebody's terminal: a folder, and the cluster under test as kubectl's current context."""

    stage: Stage
    folder: Path

    def types(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command; those of `pillion` mean the stage's namespace."""
        return subprocess.run(
            [*command], cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=_SECONDS,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    def pillion(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `pillion` for the stage's namespace."""
        scope = (f"--namespace={self.stage.namespace}", f"--context={self.stage.target.context}")
        return self.types(sys.executable, "-m", "pillion.cli.main", command, *arguments, *scope)

    def environment(self) -> dict[str, str]:
        """Return the environment: KUBECONFIG, and kubectl with its plugin on PATH."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PILLION_")}
        programs = [os.path.dirname(sys.executable), str(self.stage.target.kubectl.program.parent)]  # noqa: PTH120 - the link's folder, not the interpreter's
        return kept | {
            "KUBECONFIG": str(self.stage.target.kubeconfig),
            "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
            "NO_COLOR": "1",
        }


@pytest.fixture
def terminal(stage: Stage, tmp_path: Path) -> Terminal:
    return Terminal(stage, tmp_path)


@pytest.mark.smoke
def test_a_new_project_reaches_the_cluster_and_answers_there(terminal: Terminal) -> None:
    made = terminal.types(sys.executable, "-m", "pillion.cli.main", "new", "iris", "--into", ".")
    assert made.returncode == 0, made.stderr
    assert terminal.types(sys.executable, "train.py").stdout == "wrote iris.skops (4 columns, 3 classes)\n"

    deployed = terminal.pillion("deploy")

    assert deployed.returncode == 0, deployed.stderr
    assert f"http://iris-predictor.{terminal.stage.namespace}.svc.cluster.local" in deployed.stdout
    for flags in ((), ("--grpc",)):
        answer = terminal.pillion("predict", "iris", "--data", "@iris.example.json", *flags)
        assert answer.stdout == "[0]\n", answer.stderr
    status = terminal.pillion("status", "iris")
    assert status.returncode == 0, status.stdout
    assert "iris is Ready: Loaded" in status.stdout
    assert "✓ Pod iris-predictor-" in status.stdout
    logs = terminal.pillion("logs", "iris")
    assert logs.returncode == 0, logs.stderr
    assert {"storage", "runtime"} <= {line.partition("]")[0].rpartition("/")[2] for line in logs.stdout.splitlines()}
    plugin = terminal.types(
        "kubectl", "pillion", "status", "iris", f"--namespace={terminal.stage.namespace}",
        f"--context={terminal.stage.target.context}",
    )  # fmt: skip
    assert plugin.returncode == 0, plugin.stdout + plugin.stderr


@pytest.mark.full
def test_a_class_becomes_an_image_that_runs_in_the_cluster_and_says_what_it_has_loaded(
    terminal: Terminal, report: Report
) -> None:
    stage, pillion = terminal.stage, (sys.executable, "-m", "pillion.cli.main")
    made = terminal.types(*pillion, "new", "mood", "--template=python", "--into=.")
    assert made.returncode == 0, made.stderr
    service = terminal.folder / "service.py"
    service.write_text(service.read_text() + _PREDICT)
    base = f"--base={images.build('runtime')}"
    with registry.running(stage) as host:
        started = time.monotonic()
        deployed = terminal.pillion("deploy", ".", f"--image={host}/mood:v1", base)
        seconds = time.monotonic() - started

        assert deployed.returncode == 0, deployed.stderr
        assert terminal.pillion("predict", "mood", "--data", '["good good bad", "bad"]').stdout == "[1,-1]\n"
        assert terminal.pillion("predict", "mood", "--grpc", "--data", '["good"]').stdout == "[1]\n"
        loaded = stage.condition("mood", "ModelLoaded")
        assert (loaded["status"], loaded["message"]) == ("True", "Loaded in 1 pod: mood.")
        status = terminal.pillion("status", "mood")
        assert "mood is Ready: Loaded" in status.stdout

        # The next version has a mistake: status says file and line, and the old one goes on.
        service.write_text("import tqmd\n" + service.read_text())
        broken = terminal.pillion("deploy", ".", f"--image={host}/mood:v2", base)

        assert broken.returncode == 1
        assert "ModelLoadFailed" in broken.stderr
        assert "tqmd" in broken.stderr
        assert terminal.pillion("predict", "mood", "--data", '["good"]').stdout == "[1]\n"
    report.add("own-image", deploy_seconds=round(seconds, 1))


@pytest.mark.full
def test_a_new_model_is_a_new_version_and_the_old_one_answers_until_it_is_ready(terminal: Terminal) -> None:
    file = terminal.folder / "iris.skops"
    file.write_bytes(models.iris().content)
    first = terminal.pillion("deploy", "iris.skops")
    assert first.returncode == 0, first.stderr
    file.write_bytes(models.iris(shift=10).content)

    second = terminal.pillion("deploy", "iris.skops")

    assert second.returncode == 0, second.stderr
    assert terminal.pillion("predict", "iris", "--data", ROW).stdout == "[10]\n"


@pytest.mark.full
def test_the_status_of_a_model_that_does_not_load_has_the_last_line_of_the_pod(terminal: Terminal) -> None:
    uri = "configmap://corrupt/model.skops"
    stage = terminal.stage
    stage.apply(manifests.config_map("corrupt", models.corrupt_iris()), manifests.inference_service("iris", uri))
    stage.wait_reason("iris", "ModelLoadFailed")

    status = terminal.pillion("status", "iris")

    assert status.returncode == 1
    assert "iris is not Ready: ModelLoadFailed" in status.stdout
    line = next(line for line in status.stdout.splitlines() if "runtime: " in line)
    assert "model" in line
    refused = terminal.pillion("predict", "iris", "--data", ROW)
    assert (refused.returncode, "iris is not ready: ModelLoadFailed" in refused.stderr) == (1, True)


@pytest.mark.full
def test_a_pod_that_cannot_start_ends_deploy_with_the_reason(terminal: Terminal) -> None:
    terminal.stage.apply(manifests.config_map("iris", models.iris()))
    (terminal.folder / "m.yaml").write_text(
        json.dumps(
            manifests.inference_service(
                "iris",
                model={
                    "modelFormat": {"name": "sklearn"},
                    "storageUri": "configmap://iris/model.skops",
                    "image": "localhost/pillion-e2e/does-not-exist:never",
                },
            )
        )
    )
    deployed = terminal.pillion("deploy", "m.yaml")

    assert deployed.returncode == 1
    assert "error: iris does not become ready: ImagePullBackOff: " in deployed.stderr


@pytest.mark.full
def test_a_service_with_tls_is_called_under_its_own_name(terminal: Terminal) -> None:
    stage = terminal.stage
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.issue("iris", "iris-tls")
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops", tls="iris-tls"))
    stage.wait_ready("iris")
    (terminal.folder / "ca.crt").write_text(stage.authority.certificate)

    for flags in ((), ("--grpc",)):
        answer = terminal.pillion("predict", "iris", "--data", ROW, "--ca", "ca.crt", *flags)
        assert answer.stdout == "[0]\n", answer.stderr
    untrusted = terminal.pillion("predict", "iris", "--data", ROW)
    assert (untrusted.returncode, "name the CA with --ca" in untrusted.stderr) == (1, True)


@pytest.mark.full
def test_logs_are_followed_until_they_are_no_longer_wanted(terminal: Terminal) -> None:
    stage = terminal.stage
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops"))
    stage.wait_ready("iris")
    log = terminal.folder / "log"
    with log.open("w") as output:
        following = subprocess.Popen(
            [sys.executable, "-m", "pillion.cli.main", "logs", "iris", "-f", f"--namespace={stage.namespace}",
             f"--context={stage.target.context}"],
            env=terminal.environment(), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            eventually(log.read_text, lambda text: "/runtime]" in text, within=30, what="the runtime's lines are here")
            assert following.poll() is None
        finally:
            following.terminate()
            following.wait(10)


@pytest.mark.smoke
def test_the_readme_s_way_to_a_cluster_works_as_it_stands(terminal: Terminal) -> None:
    stage = terminal.stage
    (script,) = re.findall(r"^```sh\n(helm install .*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    # The chart is installed already, with images of this checkout; the reader's namespace is the stage's.
    commands = script.partition("\n")[2]
    (terminal.folder / "iris.skops").write_bytes(models.iris().content)
    config = terminal.folder / "kubeconfig"
    shutil.copy(stage.target.kubeconfig, config)
    environment = terminal.environment() | {"KUBECONFIG": str(config)}
    namespace = ["kubectl", "config", "set-context", stage.target.context, f"--namespace={stage.namespace}"]
    subprocess.run(namespace, env=environment, check=True, capture_output=True)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=terminal.folder, env=environment, capture_output=True,
        text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[0]\n")
    assert re.search(
        rf"^iris +http://iris-predictor.{stage.namespace}.svc.cluster.local +True +1/1 ", done.stdout, re.MULTILINE
    )
