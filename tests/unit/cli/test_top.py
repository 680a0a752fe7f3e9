"""How busy services are, by what pods counted at two moments."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pillion.cli.cluster import scrape
from pillion.cli.cluster.load import Load, Reading, load_between, reading_of
from pillion.cli.failures import CommandError

METRICS = """\
# HELP pillion_build_info 1
pillion_build_info{version="1"} 1
pillion_in_flight{model="iris",version="1"} 2
pillion_in_flight{model="a}b",version="1"} 1
pillion_application_websockets{application="shop"} 1
pillion_queue_length{model="iris",version="1"} 3
pillion_requests_total{model="iris",version="1",protocol="rest",code="ok"} 100
pillion_application_requests_total{application="shop",route="/",code="200"} 20
pillion_request_duration_seconds_bucket{model="iris",version="1",protocol="rest",le="0.1"} 90
pillion_request_duration_seconds_bucket{model="iris",version="1",protocol="rest",le="+Inf"} 100
pillion_request_duration_seconds_bucket{model="iris",version="1",protocol="grpc",le="0.1"} 5
pillion_request_duration_seconds_sum{model="iris",version="1",protocol="rest"} 7
"""


def reading(finished: float, at: float, times: dict[float, float] | None = None) -> Reading:
    return Reading(running=1, waiting=2, finished=finished, times=times or {}, at=at)


def test_what_a_runtime_counts_is_added_up_over_models_protocols_and_applications() -> None:
    found = reading_of(METRICS, 7.0)

    assert Reading(running=4, waiting=3, finished=120, times={0.1: 95, float("inf"): 100}, at=7.0) == found


@pytest.mark.parametrize("text", ["", "<html>", "pillion_requests_total 7", "go_threads 12"])
def test_what_is_not_a_runtimes_is_nobodys_load(text: str) -> None:
    assert reading_of(text, 0.0) is None


def test_a_bound_that_is_no_number_is_left_out() -> None:
    found = reading_of(METRICS + 'pillion_request_duration_seconds_bucket{le="soon"} 1\n', 7.0)

    assert found == reading_of(METRICS, 7.0)


class Endless(BaseHTTPRequestHandler):
    """Answers for ever."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"x" * 65536)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_pod_that_answers_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "_MOST_BYTES", 1_000_000)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(CommandError, match="more than 1000000 bytes"):
            scrape._get(server.server_port)
        server.shutdown()


def test_rates_are_of_the_time_between_and_pods_are_added_up() -> None:
    pods = [(reading(100, 1.0), reading(120, 3.0)), (reading(0, 1.0), reading(5, 2.0))]

    assert Load(in_flight=2, queue=4, rps=15.0, p95_seconds=None) == load_between(pods)


def test_a_pod_that_started_anew_counts_from_nothing() -> None:
    before, after = reading(100, 0.0, {1.0: 100, 2.0: 100}), reading(10, 1.0, {1.0: 10, 2.0: 10})

    load = load_between([(before, after)])

    assert (10.0, 0.95) == (load.rps, load.p95_seconds)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({0.1: 100, 1.0: 100}, 0.095),
        ({0.1: 90, 0.2: 100, float("inf"): 100}, 0.15),
        ({0.1: 10, float("inf"): 100}, 0.1),
        ({0.1: 0, float("inf"): 0}, None),
        ({}, None),
    ],
)
def test_the_quantile_is_within_the_bucket_that_it_falls_into(
    times: dict[float, float], expected: float | None
) -> None:
    load = load_between([(reading(0, 0.0), reading(100, 1.0, times))])

    assert expected == (pytest.approx(load.p95_seconds) if load.p95_seconds is not None else None)
