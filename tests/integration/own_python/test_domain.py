"""One service with the tasks of all classes of a project, and field numbers that stay when it is introduced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc_tools
import pytest
from grpc_tools import protoc

from tests.engines import ENGINE_VARIABLE, ENGINES
from tests.integration.own_python.program import serving
from tests.integration.own_python.test_proto import pillion
from tests.reflected import Reflected

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASS = '''
import dataclasses
from collections.abc import Iterator
from pillion import Model, task

@dataclasses.dataclass
class {record}:
    text: str
    score: float

class {name}(Model):
    @task
    def classify(self, {parameters}) -> {record}:
        """Says {name}."""
        return {record}(text, {score})

    @task
    def shout(self, words: Iterator[str]) -> Iterator[str]:
        for word in words:
            yield word + "{mark}"
{more}
'''
BAD = CLASS.format(
    name="Bad", record="Label", parameters="text: str, top: int = 1", score=-1.0, mark="?",
    more="    @task\n    def only(self, x: int) -> int:\n        return x\n",
)  # fmt: skip
GOOD = CLASS.format(name="Good", record="Tag", parameters="top: int = 1, *, text: str", score=1.0, mark="!", more="")


def test_a_lock_from_before_gives_the_domain_the_numbers_of_its_classes(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(BAD)
    assert 0 == pillion(tmp_path)[0]
    lock = json.loads((tmp_path / "proto.lock").read_text())
    messages = lock["services"]["bad.BadService"]
    messages["ClassifyRequest"]["fields"]["text"]["number"] = 7
    messages["Label"]["reserved"] = [{"number": 9, "name": "gone", "type": "string"}]
    (tmp_path / "proto.lock").write_text(json.dumps(lock))
    assert 1 == lock["version"]

    code, printed = pillion(tmp_path, "--domain", "Nlp")
    assert 0 == code, printed
    migrated = json.loads((tmp_path / "proto.lock").read_text())
    assert (2, "Nlp") == (migrated["version"], migrated["domain"])
    assert lock["services"]["bad.BadService"] == migrated["services"]["bad.BadService"]
    assert lock["services"]["bad.BadService"] == migrated["services"]["nlp.NlpService"]
    text = (tmp_path / "proto" / "nlp" / "nlp.proto").read_text()
    assert "rpc ClassifyPredict(ClassifyRequest) returns (ClassifyResponse);" in text
    assert "optional string text = 7;" in text
    assert (0, "up to date: bad.BadService, nlp.NlpService\n") == pillion(tmp_path, "--check")


def test_a_lock_from_before_and_a_server_that_was_never_told_of_domains_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(BAD)
    assert 0 == pillion(tmp_path)[0]
    before = (tmp_path / "proto.lock").read_text()
    assert (0, "up to date: bad.BadService\n") == pillion(tmp_path, "--check")
    with serving(tmp_path, "service.py:Bad") as program, Reflected(program.ports["grpc"]) as client:
        assert "bad.BadService" in client.services()
        assert "nlp.NlpService" not in client.services()
    assert before == (tmp_path / "proto.lock").read_text()


def test_the_services_of_every_server_are_written_on_request_and_compile(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(BAD)
    code, printed = pillion(tmp_path, "--runtime")
    assert (0, True) == (code, "proto/pillion/runtime.proto" in printed), printed
    bundled = Path(grpc_tools.__file__).parent / "_proto"
    options = [f"-I{tmp_path / 'proto'}", f"-I{bundled}", f"--python_out={tmp_path}"]
    assert 0 == protoc.main(["protoc", *options, "pillion/runtime.proto"])


def test_a_domain_is_named_as_a_class(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(BAD)
    code, printed = pillion(tmp_path, "--domain", "n l p")
    assert (2, True) == (code, "write it as the name of a class" in printed), printed
    lock = {"version": 2, "domain": "a/b", "services": {}}
    (tmp_path / "proto.lock").write_text(json.dumps(lock))
    code, printed = pillion(tmp_path)
    assert (2, True) == (code, "write it as the name of a class" in printed), printed


@pytest.fixture(scope="module", params=ENGINES)
def client(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Reflected]:
    folder = tmp_path_factory.mktemp("domain")
    (folder / "service.py").write_text(BAD + GOOD)
    code, printed = pillion(folder, "--domain", "Nlp")
    assert 0 == code, printed
    with serving(folder, "service.py:Good", "service.py:Bad", **{ENGINE_VARIABLE: request.param}) as program:
        assert "proto.lock does not know" not in program.printed
        with Reflected(program.ports["grpc"]) as client:
            yield client


def test_a_task_is_reached_by_the_domain_with_the_model_in_the_metadata(client: Reflected) -> None:
    method, request = "nlp.NlpService/ClassifyPredict", {"text": "x"}
    assert {"text": "x", "score": -1.0} == client.call(method, request, mm_model_id="bad")["result"]
    assert {"text": "x", "score": 1.0} == client.call(method, request, mm_model_id="good")["result"]
    words = [{"words": "a"}, {"words": "b"}]
    said = client.stream("nlp.NlpService/BidiStreamingShoutPredict", words, mm_model_id="good")
    assert ["a!", "b!"] == [one["result"] for one in said]
    assert {"text": "x", "score": 1.0} == client.call("good.GoodService/ClassifyPredict", request)["result"]


@pytest.mark.parametrize(
    ("method", "metadata", "code", "says"),
    [
        ("ClassifyPredict", {}, grpc.StatusCode.INVALID_ARGUMENT, "several models have this service: bad, good"),
        ("ClassifyPredict", {"mm_model_id": "none"}, grpc.StatusCode.NOT_FOUND, "Request for unknown model"),
        ("OnlyPredict", {"mm_model_id": "good"}, grpc.StatusCode.INVALID_ARGUMENT, "has no task 'only'"),
    ],
)
def test_who_names_no_model_or_a_wrong_one_is_told(
    client: Reflected, method: str, metadata: dict[str, str], code: grpc.StatusCode, says: str
) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        client.call(f"nlp.NlpService/{method}", {}, **metadata)
    assert (code, True) == (failure.value.code(), says in (failure.value.details() or "")), failure.value.details()


def test_a_task_of_one_model_needs_no_name(client: Reflected) -> None:
    assert {"result": "3"} == client.call("nlp.NlpService/OnlyPredict", {"x": 3})
