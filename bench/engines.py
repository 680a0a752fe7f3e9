"""gRPC engines: ``python -m bench.engines [--rounds N]`` writes ``bench/results/engines-*.md`` and ``.json``.

Two parts. Engines alone: each answers ModelInfer with the same bytes from a file, so that what differs is the engine.
Whole servers: Pillion with each of its engines and an ONNX model, everything on, against the bare limit of grpc.aio
with protobuf and the model. ghz loads them with 16 callers on 4 connections, rounds are interleaved, ratios are taken
within a round, and each answer is looked at before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.compare import compare
from bench.comparisons import PROTO
from bench.contestants import LIMIT, OURS, Contestant, by_grpc
from bench.environments import PEERS, python_of
from bench.load import Load, grpc_load
from bench.models import EXPECTED, write_models
from bench.process import Process, free_port
from bench.serving import BENCH, SERVER_CPU, pillion
from e2e.cluster.node.gotools import ensure
from pillion.protocol.protos import open_inference_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.compare import Comparison

RESULTS: Final = BENCH / "results"
CALLERS: Final = 16


def answer(folder: Path) -> Path:
    """What the engines alone answer: a flower's class."""
    message = pb.ModelInferResponse(model_name="iris", model_version="1")
    message.outputs.add(name="label", datatype="INT64", shape=[1])
    message.raw_output_contents.append(EXPECTED.to_bytes(8, "little"))
    file = folder / "answer.bin"
    file.write_bytes(message.SerializeToString())
    return file


def engines(scratch: Path) -> list[Contestant]:
    """The engines alone; grpc.aio is the limit."""
    file = answer(scratch)

    def ours(name: str, engine: str) -> Contestant:
        port = free_port()
        command: list[str | Path] = [sys.executable, BENCH / "servers" / "engine_bytes.py", engine, file, str(port)]
        return by_grpc(name, Process(engine, command, SERVER_CPU, scratch / f"{engine}.log"), f"127.0.0.1:{port}")

    python = python_of("engines")
    folder = PEERS / "engines"
    pyvoy, grpclib = free_port(), free_port()
    of_pyvoy = Process(
        "pyvoy",
        [python.with_name("pyvoy"), "pyvoy_app:app", "--port", str(pyvoy), "--worker-threads", "1"],
        SERVER_CPU,
        scratch / "pyvoy.log",
        cwd=folder,
        env={"ANSWER": str(file), "PYTHONPATH": str(folder)},
    )
    of_grpclib = Process(
        "grpclib", [python, folder / "grpclib_server.py", file, str(grpclib)], SERVER_CPU, scratch / "grpclib.log"
    )
    return [
        ours(LIMIT, "grpcio"),
        ours("asyncio", "asyncio"),
        by_grpc("pyvoy", of_pyvoy, f"127.0.0.1:{pyvoy}"),
        by_grpc("grpclib", of_grpclib, f"127.0.0.1:{grpclib}"),
        ours("grpcio, threads", "grpcio-threads"),
    ]


def servers(scratch: Path) -> list[Contestant]:
    """Pillion with either engine, and the bare limit."""
    model = scratch / "iris.onnx"
    port = free_port()
    bare = Process(
        "grpc.aio", [sys.executable, BENCH / "servers" / "limit_grpc.py", model, str(port)], SERVER_CPU,
        scratch / "limit-grpc.log",
    )  # fmt: skip
    found = [by_grpc(LIMIT, bare, f"127.0.0.1:{port}")]
    for engine in ("grpcio", "asyncio"):
        folder = scratch / engine
        folder.mkdir(exist_ok=True)
        serving = pillion(folder, model)
        serving.process.env["PILLION_GRPC__ENGINE"] = engine
        found.append(by_grpc(f"{OURS}, {engine}", serving.process, serving.grpc))
    return found


def markdown(command: str, comparison: Comparison, rounds: int) -> str:
    """The table."""
    lines = [
        f"# gRPC engines: {comparison.title}",
        "",
        (
            f"`{command}` on {os.cpu_count()} processors, Python {platform.python_version()}; {rounds} interleaved "
            f"rounds, medians; {CALLERS} callers on 4 connections. Ratios are taken within a round; in brackets the "
            "lowest and the highest."
        ),
        "",
        "| server | calls/s | of the limit | p50 ms | p99 ms | CPU ms a call | RSS MiB | start s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in comparison.rounds:
        ratio = comparison.ratio(name, LIMIT)
        kinds = ("p50_ms", "p99_ms", "cpu_ms_per_request", "rss_mib", "start_seconds")
        figures = " | ".join(f"{comparison.median(name, kind):.3g}" for kind in kinds)
        lines.append(
            f"| {name} | {comparison.median(name, 'per_second'):.0f} "
            f"| {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) | {figures} |"
        )
    lines += [f"\n{name} has no ratio: {why}." for name, why in comparison.refused.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--part", choices=["alone", "servers"], action="append")
    arguments = parser.parse_args()
    ghz = ensure(["ghz"])["ghz"]
    parts: dict[str, tuple[str, Callable[[Path], list[Contestant]]]] = {
        "alone": ("Engines alone, the same bytes; the limit is grpc.aio", engines),
        "servers": ("Iris as ONNX, everything on; the limit is bare grpc.aio with protobuf", servers),
    }
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_models(scratch)

        def load(one: Contestant, seconds: int) -> Load:
            request = scratch / "request.bin"
            request.write_bytes(one.body)
            return grpc_load(ghz, one.target, PROTO, request, connections=CALLERS, seconds=seconds)

        for part in arguments.part or list(parts):
            title, contestants = parts[part]
            print(title, flush=True)
            comparison = compare(
                title,
                contestants(scratch),
                load,
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                warm_up=1,
                say=lambda line: print(line, flush=True),
            )
            text = markdown("python -m bench.engines " + " ".join(sys.argv[1:]), comparison, arguments.rounds)
            print(text)
            (RESULTS / f"engines-{part}.md").write_text(text)
            rounds = {name: [asdict(one) for one in measured] for name, measured in comparison.rounds.items()}
            document = {"title": title, "rounds": rounds, "refused": comparison.refused}
            (RESULTS / f"engines-{part}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
