"""``python -m bench.observability``: what observing requests costs, as shares of the same server that observes nothing.

Interleaved rounds over REST with the ONNX model, the cheapest request there is, so that every microsecond shows. Traces
and events go to a receiver that answers at once, on the processor of the load. ``--baseline FOLDER`` adds the sources
of another checkout (its ``runtime/src``), to see what is there costs while it is off.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.compare import compare
from bench.contestants import Contestant, by_rest
from bench.load import LOAD_CPU, Load, http_load
from bench.models import write_models
from bench.serving import pillion

_TRACE = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of running the server."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def ways(receiver: str, baseline: Path | None) -> list[Way]:
    """Nothing observed first: the others are compared with it."""
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
    payloads = {"url": receiver, "allow_loopback": True, "service": "iris"}
    found = [
        Way("off"),
        Way("traces 1 %", traced | {"OTEL_TRACES_SAMPLER_ARG": "0.01"}),
        Way("traces, unsampled callers", traced, headers={"traceparent": f"00-{_TRACE}-00"}),
        Way("traces 0 %", traced | {"OTEL_TRACES_SAMPLER_ARG": "0"}),
        Way("traces 100 %", traced | {"OTEL_TRACES_SAMPLER_ARG": "1"}),
        Way("access log 1 %", settings={"log": {"access": 0.01}}),
        Way("payload log 1 %", settings={"logger": payloads | {"share": 0.01}}),
    ]
    if baseline is not None:
        found.append(Way("baseline", {"PYTHONPATH": str(baseline)}))
    return found


def contestant(way: Way, scratch: Path, model: Path) -> Contestant:
    """The server run that way."""
    folder = scratch / "".join(character if character.isalnum() else "-" for character in way.name)
    folder.mkdir()
    serving = pillion(folder, model, way.settings)
    found = by_rest(way.name, serving, "/v2/health/ready")
    process = replace(serving.process, env=way.environment)
    return replace(found, process=process, headers={**found.headers, **way.headers})


class _Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take whatever comes."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, help="runtime/src of another checkout")
    parser.add_argument("--only", default="", help="names of ways, by commas; what observes nothing is always there")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chosen = {"off", *(name for name in arguments.only.split(",") if name)}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_models(scratch)
        found = ways(f"http://127.0.0.1:{server.server_address[1]}", arguments.baseline)
        by_name = {way.name: way for way in found if not arguments.only or way.name in chosen}

        def load(one: Contestant, seconds: int) -> Load:
            return http_load(one.target, one.body, one.headers, connections=16, seconds=seconds, scratch=scratch)

        result = compare(
            "What observing costs",
            [contestant(way, scratch, scratch / "iris.onnx") for way in by_name.values()],
            load,
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            warm_up=1,
            say=print,
        )
    for name in by_name:
        ratio = result.ratio(name, "off")
        print(
            f"{name:30} {result.median(name, 'per_second'):8.0f}/s"
            f"  {ratio.median:.3f} of off ({ratio.low:.3f} to {ratio.high:.3f})"
            f"  {result.median(name, 'cpu_ms_per_request'):.4f} ms CPU  p99 {result.median(name, 'p99_ms'):.2f} ms"
        )


if __name__ == "__main__":
    main()
