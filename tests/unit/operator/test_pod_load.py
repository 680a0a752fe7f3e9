"""How busy a pod is, as its `/metrics` says it."""

from __future__ import annotations

import pytest

from pillion_operator.observe.pod_load import load_of
from pillion_operator.scaling.decision import PodLoad

BUILD = 'pillion_build_info{version="1"} 1.0\n'


def test_models_and_applications_count_together() -> None:
    text = BUILD + (
        "# HELP pillion_in_flight Running now\n"
        'pillion_in_flight{model="a} 9",version="1"} 2.0\n'
        'pillion_in_flight{model="b",version="1"} 1.0\n'
        'pillion_queue_length{model="a",version="1"} 4.0\n'
        'pillion_queue_wait_seconds_count{model="a",version="1"} 77.0\n'
        'pillion_requests_total{model="a",version="1",protocol="rest",code="ok"} 10.0 1700000000\n'
        'pillion_application_requests_total{application="/",route="/",code="200"} 5.0\n'
        'pillion_application_requests_in_flight{application="/"} 1.0\n'
        'pillion_application_queue_depth{application="/"} 1.0\n'
        'pillion_application_websockets{application="/"} 2.0\n'
    )

    assert PodLoad(in_progress=11.0, waiting=5.0, finished=15.0) == load_of(text)


def test_an_idle_runtime_has_no_load_which_is_not_the_same_as_not_answering() -> None:
    assert PodLoad() == load_of(BUILD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "up 1\n",
        "pillion_in_flight 3\n",
        BUILD + "pillion_in_flight nan\n",
        BUILD + "pillion_in_flight\n",
        BUILD + "pillion_in_flight -1\n",
        BUILD + "pillion_in_flight{ x\n",
        "{\n \n}\n",
    ],
)
def test_what_is_not_a_runtimes_is_no_answer(text: str) -> None:
    assert load_of(text) is None
