"""The command line as people and programs use it: real processes, exit codes, and no tracebacks."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from pillion.cli.main import app
from tests.integration.server.process import environment
from tests.unit.cli.command import PILLION, PORTS, pillion
from tests.yamls import parsed

if TYPE_CHECKING:
    from tests.models import IrisModels

ROW = "[[5.1,3.5,1.4,0.2]]"


def test_help_is_quick() -> None:
    spent: list[float] = []
    # What a neighbour on the same core takes of its speed differs from run to run, by half: the least is its own.
    while len(spent) < 3 or (min(spent) >= 0.3 and len(spent) < 9):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "serve" in pillion("--help").stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # CPU time: what the wall clock would show on a machine with nothing else to do.
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.3


COMMANDS = (
    *("new", "serve", "run", "predict", "push", "deploy", "status", "logs"),
    *("validate", "convert", "crd", "config show", "completion"),
    *("rollout status", "rollout undo", "rollout pause", "rollout resume"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_has_examples_and_exit_codes(command: str) -> None:
    """Without a process for each: that the command has them as a process shows the test above."""
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    text = done.stdout
    assert 0 == done.exit_code
    assert "Examples:" in text
    assert "Exit codes:" in text


def test_the_version_is_printed_for_people_and_programs() -> None:
    plain = pillion("version").stdout.strip()
    assert {"version": plain} == json.loads(pillion("version", "--json").stdout)


def test_crds_are_printed_and_can_be_chosen() -> None:
    kinds = [document["spec"]["names"]["kind"] for document in parsed(pillion("crd").stdout)]
    assert [
        "InferenceService",
        "ServingRuntime",
        "ClusterServingRuntime",
        "Model",
        "TrainingJob",
        "BatchPrediction",
    ] == kinds
    (one,) = parsed(pillion("crd", "pisvc").stdout)
    assert "InferenceService" == one["spec"]["names"]["kind"]
    assert 2 == pillion("crd", "nonsense").returncode


def test_config_show_tells_sources_and_hides_keys() -> None:
    env = {
        "PILLION_HTTP__PORT": "9000",
        "PILLION_TLS__SERVER__CERT": "/a.crt",
        "PILLION_TLS__SERVER__KEY": "-----BEGIN PRIVATE KEY-----\nMIIE",
    }
    shown: dict[str, Any] = json.loads(pillion("config", "show", "--json", env=env).stdout)
    assert {"value": "9000", "source": "PILLION_HTTP__PORT", "variable": "PILLION_HTTP__PORT"} == shown["http.port"]
    assert "default" == shown["grpc.port"]["source"]
    assert "MIIE" not in pillion("config", "show", env=env).stdout
    bad = pillion("config", "show", env={"PILLION_HTTP__PORT": "x"})
    assert (2, True) == (bad.returncode, "PILLION_HTTP__PORT" in bad.stderr)


def test_validate_names_file_line_and_field(tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "iris" / "inferenceservice.yaml"
    assert 0 == pillion("validate", "-f", str(example)).returncode
    wrong = example.read_text().replace("storageUri", "storageUrl")
    done = pillion("validate", "-f", "-", stdin=wrong)
    assert 2 == done.returncode
    assert "spec.predictor.sklearn.storageUrl" in done.stderr
    found = json.loads(pillion("validate", "-f", "-", "--json", stdin=wrong).stdout)
    assert (False, "spec.predictor.sklearn.storageUrl") == (found["valid"], found["problems"][0]["field"])
    assert 2 == pillion("validate", "-f", str(tmp_path / "none.yaml")).returncode


def test_validate_warns_of_what_is_allowed_and_risky(tmp_path: Path) -> None:
    risky = tmp_path / "risky.yaml"
    risky.write_text(
        "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceService\nmetadata: {name: a}\nspec:\n  predictor:\n"
        "    containers:\n      - name: own\n        image: team/own\n"
        "        resources: {limits: {memory: 1Gi}}\n"
    )
    done = pillion("validate", "-f", str(risky))

    assert (0, f"valid: {risky}\n") == (done.returncode, done.stdout)
    (warning,) = done.stderr.splitlines()
    assert warning.startswith(f"warning: {risky}:8: spec.predictor.containers[0].image: the image has no tag")
    found = json.loads(pillion("validate", "-f", str(risky), "--json").stdout)
    assert (True, [], "spec.predictor.containers[0].image") == (
        found["valid"], found["problems"], found["warnings"][0]["field"]
    )  # fmt: skip
    # What is wrong is mended first.
    wrong = risky.read_text().replace("image:", "imag:")
    done = pillion("validate", "-f", "-", stdin=wrong)
    assert (2, 0) == (done.returncode, done.stderr.count("warning: "))


def test_validate_calls_nothing_valid_that_it_has_not_looked_at(tmp_path: Path) -> None:
    other = tmp_path / "deployment.yaml"
    other.write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n")
    done = pillion("validate", "-f", str(other))

    assert (0, "", f"not checked: {other} has nothing of serving.pillion.dev/v1beta1\n") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )


@pytest.mark.parametrize(
    "command", [("validate", "-f"), ("convert", "-f"), ("serve", "-f"), ("deploy",), ("predict", "iris", "--data")]
)
def test_a_file_that_is_not_there_is_said_without_an_error_number(command: tuple[str, ...]) -> None:
    name = "@none.yaml" if command[0] == "predict" else "none.yaml"
    done = pillion(*command, name)

    assert 2 == done.returncode
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("none.yaml: no such file\n")


def test_serve_prints_a_call_that_works_and_predict_agrees_over_rest_and_grpc(tmp_path: Path, iris: IrisModels) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "pillion.cli.main", "serve", f"iris={iris.skops}", *PORTS],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        ready, call = server.stdout.readline(), server.stdout.readline()
        assert ready.startswith("iris ready in ")
        answer = subprocess.run(call.removeprefix("try: "), shell=True, capture_output=True, text=True, check=True)
        assert 1 == len(json.loads(answer.stdout)["predictions"])
        http = ready.partition("http://")[2].partition("/docs")[0]
        rpc = "127.0.0.1:" + ready.partition("grpc :")[2].split()[0]
        assert "[0]\n" == pillion("predict", "iris", "--data", ROW, "--url", http).stdout
        assert "[0]\n" == pillion("predict", "iris", "--data", ROW, "--url", rpc, "--grpc").stdout
        unknown = pillion("predict", "nope", "--data", ROW, "--url", http)
        assert (1, True) == (unknown.returncode, "unknown model" in unknown.stderr)
        assert 2 == pillion("predict", "iris", "--data", "[[", "--url", http).returncode
        assert 200 == httpx.post(f"http://{http}/v2/repository/models/iris/load").status_code
        taken = pillion("serve", str(iris.skops), "--http-port", http.rpartition(":")[2])
        assert (3, True) == (taken.returncode, "--http-port" in taken.stderr)
        server.send_signal(signal.SIGINT)
        assert 0 == server.wait(60)
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate()


def test_a_pickle_is_refused_with_the_flag_that_would_allow_it(iris: IrisModels) -> None:
    done = pillion("serve", str(iris.joblib), *PORTS)
    assert 1 == done.returncode
    assert "--allow-pickle" in done.stderr


def test_a_person_at_a_terminal_reads_once_why_a_model_does_not_load(tmp_path: Path) -> None:
    model = tmp_path / "cut.skops"
    model.write_text("no model")
    terminal, its_end = pty.openpty()
    try:
        command = [*PILLION, "serve", str(model), *PORTS]
        done = subprocess.run(command, env=environment(), stderr=its_end, timeout=60, check=False)
        printed = os.read(terminal, 65536).decode()
    finally:
        os.close(its_end)
        os.close(terminal)

    assert 1 == done.returncode
    assert printed.startswith("error: cut: cut.skops is not a skops file")
    assert 1 == len(printed.splitlines())


def test_serve_wants_exactly_one_way_to_name_models(tmp_path: Path) -> None:
    assert 2 == pillion("serve").returncode
    missing = pillion("serve", str(tmp_path / "none.skops"))
    assert (2, True) == (missing.returncode, "no such file" in missing.stderr)


@pytest.mark.parametrize("url", ["http://[::1/v1/models/iris:predict", "http://a..b/v1/models/iris:predict"])
def test_predict_names_a_url_that_leads_nowhere(url: str) -> None:
    done = pillion("predict", url, "--data", ROW)
    assert 2 == done.returncode
    assert url.partition("/v1")[0] in done.stderr


def test_predict_without_a_server_says_so() -> None:
    done = pillion("predict", "iris", "--data", ROW, "--url", "http://127.0.0.1:1")
    assert 1 == done.returncode
    assert "is the server running there?" in done.stderr


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("numpy", ("serve", "iris.skops"), "serve,sklearn"),
        ("numpy", ("serve", "service.py:Mood"), "serve"),
        ("grpc", ("predict", "iris", "--grpc", "--url", "127.0.0.1:1", "--data", ROW), "serve"),
        ("obstore", ("push", "iris.skops", "s3://models/iris"), "storage"),
        ("numpy", ("convert-model", "iris.joblib", "-o", "new.skops", "--allow-pickle"), "sklearn"),
    ],
)
def test_what_the_base_install_leaves_out_is_named_with_the_extra_that_brings_it(
    package: str, arguments: tuple[str, ...], extra: str, tmp_path: Path, iris: IrisModels
) -> None:
    shutil.copy(iris.skops, tmp_path / "iris.skops")
    shutil.copy(iris.joblib, tmp_path / "iris.joblib")
    (tmp_path / "service.py").touch()
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / f"{package}.py").write_text(f"raise ModuleNotFoundError('No module', name={package!r})")
    done = pillion(*arguments, cwd=tmp_path, env={"PYTHONPATH": str(absent)})
    said = rf"needs {package}, which is not installed.{{2}}pip install 'pillion\[{extra}\]'"
    assert (1, True) == (done.returncode, re.search(said, done.stderr) is not None), done.stderr


def test_a_command_that_used_a_bucket_is_not_torn_down() -> None:
    code = (
        "import atexit, sys, types\n"
        "sys.modules['obstore'] = types.ModuleType('obstore')\n"
        "atexit.register(print, 'torn down')\n"
        "sys.argv = ['pillion', *{arguments}]\n"
        "from pillion.cli.main import main\n"
        "main()\n"
    )
    for arguments, status in ((["version"], 0), (["version", "--nonsense"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("{arguments}", repr(arguments))],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (status, False) == (done.returncode, "torn down" in done.stdout), done.stderr
        assert done.stdout or done.stderr
