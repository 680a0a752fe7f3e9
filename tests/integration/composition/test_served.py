"""Compositions as models: by REST, streams, the Open Inference Protocol and gRPC, with metrics of their steps."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import pillion
from tests.asking import asking
from tests.integration.composition.flows import Mood, clean, scale, spell, word
from tests.integration.observe.receivers import attributes, collector
from tests.integration.own_python.program import serving
from tests.processes import alive, children
from tests.waiting import until_now

HERE = Path(__file__).parent


def test_a_flow_of_a_module_is_a_model_with_one_task_and_metrics_of_its_steps() -> None:
    with serving(HERE, "flows.py:triage") as program:
        assert (200, "happy") == program.curl("/triage", {"text": "GOOD"})
        assert (200, "sad") == program.curl("/api/v1/task/triage", {"model_id": "triage", "inputs": "bad"})
        status, refused = program.curl("/triage", {"text": ""})
        assert 400 == status
        assert "the text is empty" in refused["details"]
        assert 422 == program.curl("/triage", {"text": 5})[0]
        assert (404, 200) == (program.curl("/v2/models/other")[0], program.curl("/v2/models/triage")[0])

        def counted() -> bool:
            told = httpx.get(f"http://127.0.0.1:{program.ports['admin']}/metrics").text
            calls = {"clean": 3, "Mood": 2, "word": 2}.items()
            return all(f'pillion_step_seconds_count{{flow="triage",step="{name}"}} {n}.0' in told for name, n in calls)

        until_now(counted)


def test_a_flow_of_arrays_speaks_the_open_inference_protocol_and_one_that_yields_streams() -> None:
    flow, spelled = pillion.Sequential(scale, name="quarter"), pillion.Sequential(spell, name="spelled")
    with pillion.serve(flow, spelled, blocking=False) as server:
        tensor = {"name": "x", "shape": [2], "datatype": "FP64", "data": [4.0, 8.0]}
        answer = httpx.post(f"{server.url}/v2/models/quarter/infer", json={"inputs": [tensor]}).json()
        assert [1.0, 2.0] == answer["outputs"][0]["data"]
        events = httpx.post(f"{server.url}/spelled", json={"text": "OK"}).text
        assert ['data: "o"', 'data: "k"'] == [line for line in events.splitlines() if line.startswith("data")]


def test_a_flow_answers_over_grpc() -> None:
    flow = pillion.Sequential(clean, Mood, word, name="triage")
    with pillion.serve(flow, blocking=False) as server, grpc.insecure_channel(server.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        (service,) = [name for name in database.get_services() if name.endswith("TriageService")]
        described = descriptor_pool.DescriptorPool(database).FindServiceByName(service)
        method = described.methods_by_name["TriagePredict"]
        request = message_factory.GetMessageClass(method.input_type)
        call = channel.unary_unary(
            f"/{service}/TriagePredict",
            request_serializer=request.SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        answer = json_format.MessageToDict(call(request(text="Good"), timeout=60))
        assert ["happy"] == list(answer.values())


@pytest.mark.parametrize("how", ["leaves", "deadline"])
def test_a_step_ends_with_its_request(how: str) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def wait(text: str) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return text

    with pillion.serve(pillion.Ensemble(wait, clean, name="slow"), blocking=False) as server:
        if how == "leaves":
            with asking(f"{server.url}/slow", {"text": "x"}):
                until_now(begun.is_set)
        else:
            late = httpx.post(
                f"{server.url}/slow", json={"text": "x"}, headers={"x-request-timeout-seconds": "1"}, timeout=60
            )
            assert 504 == late.status_code
        until_now(cancelled.is_set)


def test_failures_of_members_say_which_and_whose_fault_it_is() -> None:
    def crash(_: str) -> int:
        raise OSError("no disk")

    both = pillion.Ensemble(clean, ("second", clean), name="both")
    broken = pillion.Ensemble(clean, crash, name="broken")
    with pillion.serve(both, broken, blocking=False) as server:
        refused = httpx.post(f"{server.url}/both", json={"text": ""})
        assert (400, True) == (refused.status_code, "clean: ValueError: the text is empty" in refused.json()["details"])
        failed = httpx.post(f"{server.url}/broken", json={"text": "x"})
        assert (500, True) == (failed.status_code, "crash: OSError: no disk" in failed.json()["details"])


def test_workers_of_a_flow_end_with_its_server() -> None:
    with serving(HERE, "flows.py:triage") as program:
        program.curl("/triage", {"text": "good"})
        workers = children(program.process.pid)
        assert workers
    until_now(lambda: not any(map(alive, workers)))


def test_each_step_of_a_traced_request_has_a_span_below_that_of_what_it_is_a_step_of() -> None:
    with collector() as gathered, serving(HERE, "flows.py:nested", **gathered.environment) as program:
        assert (200, {"word": "happy", "clean": "good"}) == program.curl("/nested", {"text": "GOOD"})
        spans = {attributes(one)["pillion.step.name"]: one for one in gathered.wait_for("pillion.step", 6)}
        assert {"clean", "both", "both.word", "both.clean", "both.word.Mood", "both.word.word"} == set(spans)
        assert spans["both"].span_id == spans["both.word"].parent_span_id == spans["both.clean"].parent_span_id
        assert spans["both.word"].span_id == spans["both.word.Mood"].parent_span_id
        (request,) = gathered.wait_for("POST /{task}")
        assert request.span_id == spans["clean"].parent_span_id == spans["both"].parent_span_id
