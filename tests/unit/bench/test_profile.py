"""How samples are sorted by stage, and what a run of overload comes to in a table."""

from __future__ import annotations

import pytest

from bench.overload import Round, table
from bench.profile import published, stage_of, stages


@pytest.mark.parametrize(
    ("innermost", "expected"),
    [
        ("decode (runtime/src/pillion/protocol/oip_json.py:90)", "decode"),
        ("encode_answer (runtime/src/pillion/protocol/oip_json_answer.py:40)", "encode"),
        ("run (site-packages/onnxruntime/capi/onnxruntime_inference_collection.py:270)", "compute"),
        ("infer (runtime/src/pillion/dataplane/plane.py:90)", "admit and execute"),
        ("data_received (runtime/src/pillion/transport/http/engine.py:120)", "parse and route"),
        ("run_until_complete (asyncio/base_events.py:640)", "event loop"),
    ],
)
def test_a_sample_belongs_to_the_stage_of_its_innermost_frame(innermost: str, expected: str) -> None:
    outer = "data_received (runtime/src/pillion/transport/http/engine.py:100)"
    assert expected == stage_of([outer, innermost])


def test_a_frame_of_no_stage_counts_for_the_one_that_called_it() -> None:
    assert "decode" == stage_of(["decode (pillion/protocol/oip_json.py:9)", "prod (lib/python3.11/numerics.py:3)"])


def test_samples_are_added_up() -> None:
    folded = "main (a.py:1);f (pillion/protocol/oip_json.py:1) 3\nmain (a.py:1);f (pillion/protocol/oip_json.py:2) 4\n"
    assert {"decode": 7} == stages(folded)


def test_the_table_of_overload_has_the_two_ratios_that_goals_are_about() -> None:
    one = Round(400.0, 800.0, 380.0, 420.0, 3.0, 5.0, 8.0, 15.0, 7.0, 10.0, 1.0, 2.0, 80.0, 82.0)

    written = table([one])

    assert "380/s, **0.95** of the capacity" in written
    assert "8.0, 15.0 ms: **3.0** x the unloaded p99" in written
    assert "7.0, 10.0 ms: **2.0** x the unloaded p99" in written


def test_a_published_flame_graph_names_no_folder_of_the_machine_that_drew_it() -> None:
    drawn = (
        '<text id="title" y="24.00">/home/me/env/bin/py-spy record --output /tmp/x/flame.svg</text>'
        "<title>Lane.serve (/home/me/pillion/runtime/src/pillion/dataplane/lane.py:69) (5 samples, 0.28%)</title>"
        "<title>run (/opt/env/lib/python3.11/site-packages/uvicorn/server.py:1) (5 samples, 0.28%)</title>"
        '<text x="1">Lane.serve (/home/me/pil..</text>'
    )
    assert (
        '<text id="title" y="24.00">REST &amp; more</text>'
        "<title>Lane.serve (pillion/dataplane/lane.py:69) (5 samples, 0.28%)</title>"
        "<title>run (uvicorn/server.py:1) (5 samples, 0.28%)</title>"
        '<text x="1">Lane.serve (..</text>'
    ) == published(drawn, "REST & more")
