"""Graphs of YAML: served by ``pillion serve -f`` and from a runtime file, over real services."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import re
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np  # noqa: TC002 - a model's hints are read at run time
import pytest
from numpy.typing import NDArray  # noqa: TC002 - as above

import pillion
from pillion import Model, task
from tests.integration.own_python.program import PILLION, serving
from tests.integration.server.process import served
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.server.process import ServerProcess

HERE = Path(__file__).parent
EXAMPLE = Path(__file__).parents[3] / "examples" / "graph"
CANCELLED = threading.Event()


class Texts(Model):
    """Of another service."""

    @task
    def upper(self, text: str) -> str:
        """In capitals."""
        return text.upper()

    @task
    def fail(self, text: str) -> str:
        """Cannot."""
        raise RuntimeError(f"no idea of {text}")

    @task
    async def wait(self, text: str) -> str:
        """For long."""
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            CANCELLED.set()
            raise
        return text

    @task
    def join(self, left: str, right: str) -> str:
        """Of two."""
        return left + right


class Halves(Model):
    """Arrays."""

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half of it."""
        return x / 2


async def echo(request: pillion.Request) -> list[Any]:
    """Anything that is sent JSON and answers JSON."""
    return [*await request.json(), "echo"]


@pytest.fixture(scope="module")
def other() -> Iterator[pillion.Serving]:
    with pillion.serve(Texts, Halves, echo, blocking=False, route_prefix="/echo") as server:
        yield server


def node(kind: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": kind, "steps": list(steps), **more}


@pytest.fixture(scope="module")
def server(other: pillion.Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("graphs")
    texts = {"service": other.url, "model": "texts"}
    here = {"model": "words"}
    upper, fail, wait = ({**texts, "task": name, "name": name} for name in ("upper", "fail", "wait"))
    halves = {"service": other.url, "model": "halves"}
    nobody = {"service": "http://127.0.0.1:9", "model": "x", "task": "t", "name": "nobody"}
    graphs = {
        "data": node("sequence", upper, {**here, "task": "spell", "data": "request"}),
        "ends": node("sequence", upper, {**here, "task": "spell", "when": '. != "STOP"'}),
        "arrays": node("sequence", halves, {"name": "echo", "url": f"{other.url}/echo"}),
        "most": node("ensemble", upper, fail, nobody, quorum=1),
        "all": node("ensemble", upper, fail, nobody),
        "first": node("ensemble", wait, upper, require="first"),
        "split": node("splitter", {**upper, "weight": 80}, {**here, "task": "spell", "weight": 20}),
        "slow": node("sequence", wait),
        "switch": node("switch", {**upper, "when": '. == "a"'}),
    }
    models = [{"name": name, "path": "", "graph": {"nodes": {"root": root}}} for name, root in graphs.items()]
    words = {"name": "words", "path": "", "code": {"module": str(HERE / "words.py"), "folder": str(HERE)}}
    config = folder / "runtime.yaml"
    config.write_text(json.dumps({"apiVersion": "runtime.pillion.dev/v1", "models": [words, *models]}))
    with served(folder, config) as process:
        yield process


def call(server: ServerProcess, graph: str, value: object, **options: Any) -> httpx.Response:
    return httpx.post(server.url(f"/{graph}"), json={"inputs": value}, timeout=60, **options)


def test_steps_of_a_sequence_are_given_what_came_before_or_the_request(server: ServerProcess) -> None:
    assert ["a", "b"] == call(server, "data", "ab").json()
    assert ["A", "B"] == call(server, "ends", "ab").json()


def test_a_condition_that_does_not_hold_ends_a_sequence_with_what_came_before(server: ServerProcess) -> None:
    assert "STOP" == call(server, "ends", "stop").json()


def test_a_switch_without_a_branch_for_a_value_lists_its_conditions(server: ServerProcess) -> None:
    assert "A" == call(server, "switch", "a").json()
    refused = call(server, "switch", "b")
    assert 400 == refused.status_code
    assert 'there are: . == "a"' in refused.json()["details"]


def test_arrays_are_lists_between_steps_and_a_url_is_posted_what_came_before(server: ServerProcess) -> None:
    assert [0.5, 1.5, "echo"] == call(server, "arrays", [1.0, 3.0]).json()


def test_partial_failures_are_told_or_tolerated_as_the_ensemble_says(server: ServerProcess) -> None:
    assert {"upper": "A"} == call(server, "most", "a").json()
    failed = call(server, "all", "a")
    assert 500 == failed.status_code
    assert "3 of 3 members have to answer" in failed.json()["details"]
    assert "no idea of a" in failed.json()["details"] or "cannot connect" in failed.json()["details"]


def test_the_first_answer_cancels_what_is_under_way_in_another_service(server: ServerProcess) -> None:
    CANCELLED.clear()
    assert "A" == call(server, "first", "a").json()
    until_now(CANCELLED.is_set)


def test_a_splitter_keeps_its_weights(server: ServerProcess) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: str(call(server, "split", "a").json()), range(200)))
    counted = Counter(answers)
    assert 120 < counted["A"] < 190  # 160 expected, with a deviation of 5.7
    assert 200 == counted["A"] + counted["['a']"]


def test_the_deadline_of_a_request_reaches_the_services_that_it_calls(server: ServerProcess) -> None:
    CANCELLED.clear()
    assert 504 == call(server, "slow", "a", headers={"x-request-timeout-seconds": "2"}).status_code
    until_now(CANCELLED.is_set)


def test_a_graph_that_changes_in_the_file_is_served_anew(tmp_path: Path) -> None:
    words = {"name": "words", "path": "", "code": {"module": str(HERE / "words.py"), "folder": str(HERE)}}
    config = tmp_path / "runtime.yaml"

    def write(task_: str) -> None:
        root = node("sequence", {"model": "words", "task": task_})
        graph = {"name": "graph", "path": "", "graph": {"nodes": {"root": root}}}
        text = json.dumps({"apiVersion": "runtime.pillion.dev/v1", "models": [words, graph]})
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").rename(config)

    write("spell")
    with served(tmp_path, config) as process:
        assert ["a", "b"] == call(process, "graph", "ab").json()
        write("reverse")
        until_now(lambda: call(process, "graph", "ab").text == '"ba"')


def test_the_example_is_served() -> None:
    with serving(EXAMPLE, "-f", "triage.yaml") as program:
        status, answer = program.curl("/triage", {"inputs": ["good morning", "bad luck", "x"]})
        assert (200, ["1 for 2 words", "it gets better after 2 words and -1", "1 words"]) == (status, answer)
        # Six steps for each item, without the root.
        until_now(lambda: program.gauge("pillion_step_seconds_count") == 18)


def drawn(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PILLION, "graph", *arguments], cwd=EXAMPLE, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_example_is_drawn_with_the_times_of_a_server() -> None:
    with serving(EXAMPLE, "-f", "triage.yaml") as program:
        admin = f"http://127.0.0.1:{program.ports['admin']}"
        nothing = drawn("-f", "triage.yaml", "--url", admin)
        assert (0, True) == (nothing.returncode, "was not called yet" in nothing.stderr)
        program.curl("/triage", {"inputs": ["good morning", "bad luck"]})
        lines = drawn("-f", "triage.yaml", "--url", admin).stdout.splitlines()
        wrong = drawn("-f", "triage.yaml", "--url", program.url())
    assert "triage: map, 8 at a time" == lines[0]
    (score,) = [line for line in lines if "score: model mood, task classify" in line]
    assert re.search(r"classify  .*s on average, p95 ≤ .*s, 2 calls$", score)
    assert any("others: model mood, task shrug  [else]" in line and "calls" not in line for line in lines)
    assert (1, True) == (wrong.returncode, "metrics are on the admin port" in wrong.stderr)


def test_a_manifest_without_a_graph_is_said(tmp_path: Path) -> None:
    service = {"apiVersion": "serving.pillion.dev/v1beta1", "kind": "InferenceService", "metadata": {"name": "a"}}
    (tmp_path / "a.json").write_text(json.dumps({**service, "spec": {"predictor": {"sklearn": {}}}}))
    done = drawn("-f", str(tmp_path / "a.json"))
    assert (2, True) == (done.returncode, "holds no graph: an InferenceService has it in spec.graph" in done.stderr)


def test_validate_names_models_that_are_not_there_and_ways_that_lead_back(tmp_path: Path) -> None:
    text = (EXAMPLE / "triage.yaml").read_text()
    (tmp_path / "model.yaml").write_text(text.replace("model: mood, task: count", "model: mod, task: count"))
    (tmp_path / "cycle.yaml").write_text(text.replace("- node: answer", "- node: root"))
    done = subprocess.run(
        [*PILLION, "validate", "-f", "model.yaml", "-f", "cycle.yaml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == done.returncode
    model, cycle, *_ = done.stderr.splitlines()
    assert (
        "model.yaml:29: spec.graph.nodes[opinions].steps[1].model: there is no model 'mod' here; models: mood" == model
    )
    assert "cycle.yaml:" in cycle
