"""A class of one's own, served by the command line and called by curl."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import grpc
import httpx
import numpy as np
import pytest

from pillion.protocol.protos import open_inference_pb2 as pb
from tests.asking import asking
from tests.integration.own_python.program import failing, serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program

SERVICE = """
import asyncio
import dataclasses
import threading
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from pillion import Model, task


@dataclasses.dataclass
class Label:
    name: str
    score: float


class Halves(TypedDict):
    low: np.ndarray
    high: np.ndarray


class Mood(Model):
    def load(self):
        self.score = {"good": 1, "bad": -1}

    @task
    def classify(self, text: str) -> int:
        return sum(self.score.get(word, 0) for word in text.split())

    @task
    def label(self, text: str, top_k: int = 1) -> list[Label]:
        "Labels, best first."
        return [Label(word, np.float32(0.5)) for word in text.split()][:top_k]

    @task
    async def echo_later(self, text: str, seconds: float = 0.0) -> str:
        await asyncio.sleep(seconds)
        return text

    @task
    def where(self) -> str:
        return f"{threading.current_thread().name} {self.device}"

    @task
    def wrong_result(self) -> int:
        return "five"

    @task
    def refuse(self, text: str) -> int:
        raise ValueError(f"cannot take {text}")

    @task
    def fail(self) -> int:
        return {}["missing"]

    def predict(self, x: NDArray[np.float32]):
        x -= x.mean()
        return x

    def explain(self, x):
        if x.max() > 99:
            raise ValueError("too large to explain")
        return [{"farthest": int(np.abs(row - row.mean()).argmax()), "in": row} for row in x]


class Splitter(Model):
    async def predict(self, x: np.ndarray, limit: list[float]) -> Halves:
        return {"low": x[x < limit[0]], "high": x[x >= limit[0]]}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "service.py").write_text(SERVICE)
    with serving(folder, "service.py:Mood", "service.py:Splitter", "--device", "cuda:1") as program:
        yield program


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/classify", {"text": "good good bad"}, 1),
        ("/mood/classify", {"text": "bad"}, -1),
        ("/classify", {"text": ""}, 0),
        ("/label", {"text": "a b c", "top_k": 2}, [{"name": "a", "score": 0.5}, {"name": "b", "score": 0.5}]),
        ("/echo_later", {"text": "a"}, "a"),
        ("/echo-later", {"text": "a"}, "a"),
        ("/api/v1/task/classify", {"inputs": "good"}, 1),
        ("/api/v1/task/classify", {"inputs": "", "model_id": "mood"}, 0),
        ("/api/v1/task/echo-later", {"inputs": "a", "parameters": {"seconds": 0}}, "a"),
    ],
)
def test_curl_calls_a_task(program: Program, path: str, body: object, expected: object) -> None:
    assert (200, expected) == program.curl(path, body)


def test_a_prediction_is_explained_by_the_class_that_made_it(program: Program) -> None:
    status, answer = program.curl("/v1/models/mood:explain", {"instances": [[1, 2, 9], [5, 2, 2]]})

    assert (200, [2, 0]) == (status, [row["farthest"] for row in answer["explanations"]])
    assert [1, 2, 9] == answer["explanations"][0]["in"]


@pytest.mark.parametrize(
    ("model", "status", "sentence"),
    [
        ("mood", 400, "ValueError: too large to explain"),
        ("splitter", 501, "model 'splitter' does not explain its predictions"),
        ("nothing", 404, "Request for unknown model"),
    ],
)
def test_what_is_not_explained_says_why(program: Program, model: str, status: int, sentence: str) -> None:
    told, answer = program.curl(f"/v1/models/{model}:explain", {"instances": [[1, 100]]})

    assert (status, True) == (told, sentence in answer["error"])


def test_plain_methods_run_in_threads_on_the_device_that_was_named(program: Program) -> None:
    status, answer = program.curl("/where", {})
    assert 200 == status
    assert answer.startswith("model-mood-")
    assert answer.endswith(" cuda:1")


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/classify", {"text": 5}, 422, "text: should be a valid string"),
        ("/classify", {}, 422, "text: is missing"),
        ("/classify", {"txt": "a", "text": "a"}, 422, "txt: task 'classify' has no such parameter; it has: text"),
        ("/label", {"text": "a", "top_k": "many"}, 422, "top_k: should be a valid integer"),
        ("/label", {"text": 1, "top_k": 1.5}, 422, "text: should be a valid string; top_k: should be a valid integer"),
        ("/classify", '{"text": "a', 400, "the body is not valid JSON"),
        ("/classify", "[1]", 400, "body: should be a JSON object"),
        ("/clasify", {"text": "a"}, 404, "there is no task 'clasify'; tasks: classify, label, echo_later"),
        ("/mood/clasify", {"text": "a"}, 404, "model 'mood' has no task 'clasify'; it has: classify"),
        ("/splitter/classify", {"text": "a"}, 400, "model 'splitter' has no task 'classify'; it has: none"),
        ("/api/v1/task/classify", {"inputs": "a", "model_id": "splitter"}, 400, "has no task 'classify'"),
        ("/api/v1/task/classify", {"inputs": "a", "model_id": "x"}, 404, "Request for unknown model: 'x'"),
        ("/api/v1/task/classify", {"text": "a"}, 400, "text: there is no such field"),
        ("/api/v1/task/classify/x", {"inputs": "a"}, 404, "no such route: /api/v1/task/classify/x"),
        ("/refuse", {"text": "this"}, 400, "ValueError: cannot take this"),
        ("/fail", {}, 500, "KeyError: 'missing' (see the server's log)"),
        ("/wrong_result", {}, 500, "Mood.wrong_result returned what it does not declare: it is str, and an int is"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    program: Program, path: str, body: object, status: int, sentence: str
) -> None:
    found, answer = program.curl(path, body)
    assert (status, status) == (found, answer["code"]), answer
    assert sentence in answer["details"]
    assert answer["id"]


def test_each_wrong_field_is_listed_for_programs(program: Program) -> None:
    _, answer = program.curl("/label", {"text": 1, "top_k": "x"})
    assert [["text"], ["top_k"]] == [problem["loc"] for problem in answer["additional_info"]]


def test_the_method_and_the_content_type_are_said_where_they_are_wrong(program: Program) -> None:
    assert 405 == program.curl("/classify")[0]
    status, answer = program.curl("/classify", None, "--data", '{"text": "a"}')
    assert 415 == status
    assert "curl --json" in answer["details"]
    assert (200, 0) == program.curl(
        "/classify", None, "--data", '{"text": "a"}', "--header", "Content-Type: application/json; charset=utf-8"
    )


def test_a_deadline_ends_a_call_that_waits(program: Program) -> None:
    body = {"text": "a", "seconds": 60}
    status, answer = program.curl("/echo_later", body, "--header", "X-Request-Timeout-Seconds: 1")
    assert (504, "the deadline passed while the model was running") == (status, answer["details"])


def test_predict_is_served_as_any_model_is(program: Program) -> None:
    tensor = {"name": "x", "shape": [2], "datatype": "FP64", "data": [1, 3]}
    status, answer = program.curl("/v2/models/mood/infer", {"inputs": [tensor]})
    assert (200, "output", "FP32", [-1.0, 1.0]) == (
        status,
        answer["outputs"][0]["name"],
        answer["outputs"][0]["datatype"],
        answer["outputs"][0]["data"],
    )
    assert (200, {"predictions": [[-1.0, 1.0]]}) == program.curl("/v1/models/mood:predict", {"instances": [[1, 3]]})
    _, described = program.curl("/v2/models/mood")
    assert ("pillion_python", "x", "FP32") == (
        described["platform"],
        described["inputs"][0]["name"],
        described["inputs"][0]["datatype"],
    )


def test_predict_is_served_over_grpc(program: Program) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[2])
    tensor.contents.fp32_contents.extend([1, 3])
    with grpc.insecure_channel(f"127.0.0.1:{program.ports['grpc']}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        answer = infer(pb.ModelInferRequest(model_name="mood", inputs=[tensor]), timeout=60)
    assert [-1.0, 1.0] == list(answer.outputs[0].contents.fp32_contents)


def test_text_and_optional_inputs_are_taken(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(TEXTS)
    with serving(tmp_path, "service.py:Lengths", "service.py:Scale") as program:
        texts, rows = {"instances": ["ab", "c"]}, {"instances": [[1, 2]]}
        assert (200, {"predictions": [2, 1]}) == program.curl("/v1/models/lengths:predict", texts)
        assert (200, {"predictions": [[2.0, 4.0]]}) == program.curl("/v1/models/scale:predict", rows)
        tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}
        status, answer = program.curl("/v2/models/scale/infer", {"inputs": [tensor]})
        assert 400 == status
        assert "input 'x' is BYTES, expected INT32 or another numeric datatype" in answer["error"]


def test_a_class_of_tasks_alone_takes_no_tensors(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(LOADS.replace("self, artifact", "self").replace("artifact.read_text()", "''"))
    with serving(tmp_path, "service.py") as program:
        tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}
        for path, body in (
            ("/v2/models/service/infer", {"inputs": [tensor]}),
            ("/v1/models/service:predict", {"instances": [1]}),
        ):
            status, answer = program.curl(path, body)
            assert 400 == status
            assert "the model takes no tensors (call its tasks: /docs lists them)" in answer["error"]


def test_an_async_predict_takes_several_inputs_and_gives_several_outputs(program: Program) -> None:
    inputs = [
        {"name": "x", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]},
        {"name": "limit", "shape": [1], "datatype": "FP64", "data": [2]},
    ]
    for _ in range(3):  # the second time on the short way, which begins calls outside of any task
        status, answer = program.curl("/v2/models/splitter/infer", {"inputs": inputs})
        assert 200 == status, answer
        assert {"low": [1], "high": [2, 3]} == {output["name"]: output["data"] for output in answer["outputs"]}


@pytest.mark.parametrize(
    ("path", "body", "code", "model"),
    [
        ("/classify", {"text": "a"}, "ok", "mood"),
        ("/classify", {"text": 1}, "invalid_argument", "mood"),
        ("/fail", {}, "model_failed", "mood"),
        ("/clasify", {}, "not_found", ""),
    ],
)
def test_tasks_are_counted_like_every_request(program: Program, path: str, body: object, code: str, model: str) -> None:
    def count() -> float:
        version = "1" if model else ""
        line = f'pillion_requests_total{{code="{code}",model="{model}",protocol="task",version="{version}"}} '
        metrics = httpx.get(f"http://127.0.0.1:{program.ports['admin']}/metrics").text
        return sum(float(text.rpartition(" ")[2]) for text in metrics.splitlines() if text.startswith(line))

    before = count()
    program.curl(path, body)
    until_now(lambda: count() - before == 1)


def test_a_client_that_leaves_cancels_an_async_method_and_frees_its_place(program: Program) -> None:
    def gauge(name: str) -> float:
        metrics = httpx.get(f"http://127.0.0.1:{program.ports['admin']}/metrics").text
        line = f'{name}{{model="mood",version="1"}} '
        return next(float(text.rpartition(" ")[2]) for text in metrics.splitlines() if text.startswith(line))

    with asking(program.url("/echo_later"), {"text": "a", "seconds": 600}):
        until_now(lambda: gauge("pillion_in_flight") == 1)
    until_now(lambda: gauge("pillion_in_flight") == 0)
    until_now(lambda: gauge("pillion_abandoned_calls") == 0)


def test_openapi_has_each_task_with_its_schemas(program: Program) -> None:
    _, document = program.curl("/openapi.json")
    operation = document["paths"]["/label"]["post"]
    assert "Labels, best first." == operation["summary"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert (["text"], "string", {"type": "integer", "default": 1}) == (
        schema["required"],
        schema["properties"]["text"]["type"],
        {key: schema["properties"]["top_k"][key] for key in ("type", "default")},
    )
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert {"$ref": "#/components/schemas/Label"} == answer["items"]
    assert {"name", "score"} == set(document["components"]["schemas"]["Label"]["properties"])
    assert {"/mood/label", "/api/v1/task/echo-later"} <= document["paths"].keys()


def test_the_tensors_of_another_dtype_are_converted(program: Program) -> None:
    tensor = {"name": "anything", "shape": [1, 2], "datatype": "INT8", "data": [1, 3]}
    _, answer = program.curl("/v2/models/mood/infer", {"inputs": [tensor]})
    assert np.allclose([-1.0, 1.0], answer["outputs"][0]["data"])


def start_error(tmp_path: Path, text: str, target: str = "service.py:Mood", *options: str) -> str:
    (tmp_path / "service.py").write_text(textwrap.dedent(text))
    code, printed = failing(tmp_path, target, *options)
    assert 1 == code, printed
    return printed


def test_a_class_without_predict_and_tasks_does_not_start(tmp_path: Path) -> None:
    printed = start_error(tmp_path, "from pillion import Model\nclass Mood(Model): pass\n")
    assert "Mood has neither predict nor a task: mark a method with @task" in printed


def test_a_missing_package_is_named_with_file_and_line_and_how_to_add_it(tmp_path: Path) -> None:
    printed = start_error(tmp_path, "import os\nimport sklearnex_missing\n")
    assert f"{tmp_path}/service.py:2: ModuleNotFoundError: No module named 'sklearnex_missing'" in printed
    assert "pip install sklearnex_missing" in printed


def test_a_syntax_error_is_shown_with_its_line(tmp_path: Path) -> None:
    printed = start_error(tmp_path, "x = 1\ndef broken(:\n    pass\n")
    assert f"{tmp_path}/service.py:2: SyntaxError: invalid syntax: def broken(:" in printed


def test_a_failing_load_is_shown_with_its_line(tmp_path: Path) -> None:
    text = """
        from pillion import Model
        class Mood(Model):
            def load(self):
                self.weights = open("nothing.bin")
            def predict(self, x):
                return x
    """
    printed = start_error(tmp_path, text)
    assert f"{tmp_path}/service.py:5: FileNotFoundError" in printed


def test_an_unknown_class_is_told_what_there_is(tmp_path: Path) -> None:
    printed = start_error(tmp_path, SERVICE, "service.py:Moood")
    assert "has no class 'Moood'; it has: Mood, Splitter" in printed


def test_which_class_has_to_be_said_where_there_are_two(tmp_path: Path) -> None:
    printed = start_error(tmp_path, SERVICE, "service.py")
    assert "which class? it has: Mood, Splitter" in printed


TEXTS = """
import numpy as np
from numpy.typing import NDArray
from pillion import Model

class Lengths(Model):
    def predict(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]

class Scale(Model):
    def predict(self, x: NDArray[np.int32], factor: NDArray[np.float32] = np.float32(2)):
        return x * factor
"""
LOADS = """
from pillion import Model, task
class Reader(Model):
    def load(self, artifact):
        self.text = artifact.read_text()
    @task
    def read(self) -> str:
        return self.text
"""


def test_a_class_may_load_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "weights.txt").write_text("heavy")
    (tmp_path / "service.py").write_text(LOADS)
    with serving(tmp_path, "service.py", "--artifact", "weights.txt") as program:
        assert (200, "heavy") == program.curl("/read", {})


def test_an_artifact_that_is_wanted_has_to_be_named(tmp_path: Path) -> None:
    printed = start_error(tmp_path, LOADS, "service.py:Reader")
    assert "Reader.load takes an artifact, and none was given (name its files: --artifact PATH" in printed


def test_a_class_may_be_named_by_its_module(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("SCORE = {'good': 1, 'bad': -1}\n")
    (package / "service.py").write_text(SERVICE.replace("from pillion", "from . import words\nfrom pillion"))
    with serving(tmp_path, "pkg.service:Mood") as program:
        assert (200, 1) == program.curl("/classify", {"text": "good"})


def test_a_file_elsewhere_finds_its_neighbours(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "helper.py").write_text("WORD = 'neighbour'\n")
    (code / "my-service.py").write_text(
        "import helper\nfrom pillion import Model, task\nclass A(Model):\n    @task\n"
        "    def say(self) -> str:\n        return helper.WORD\n"
    )
    with serving(tmp_path, str(code / "my-service.py:A")) as program:
        assert (200, "neighbour") == program.curl("/say", {})


def test_its_calls_run_in_worker_processes_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(
        "import os\nfrom pillion import Model, task\n\n\nclass Where(Model):\n"
        "    @task\n    def pid(self) -> int:\n        return os.getpid()\n"
    )
    with serving(tmp_path, "service.py:Where", "--executor", "process", "--processes", "1") as program:
        status, pid = program.curl("/pid", {})
        assert 200 == status
        assert pid != program.process.pid
