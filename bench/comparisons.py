"""What ``make bench`` compares, by name: the servers of each table, and the load on them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench import apps, identity
from bench.contestants import LIMIT, OURS, Contestant, by_grpc, by_rest
from bench.load import grpc_load, http_load
from bench.process import Process, free_port
from bench.serving import BENCH, PEERS, SERVER_CPU, limit, pillion
from bench.tasks import METHODS, task_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.load import Load

__all__ = ["COMPARISONS", "Part", "Table"]

PROTO: Final = BENCH.parent / "runtime/src/pillion/protocol/protos/open_inference.proto"
_BY_GRPC: Final = ("MLServer", "KServe", "PyTriton")
_CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Part:
    """One comparison of a table: the contestants, made with a folder for their files, and how one is loaded."""

    title: str
    contestants: Callable[[Path, Sequence[str]], list[Contestant]]
    load: Callable[[Contestant, int, Path], Load]


@dataclass(frozen=True, slots=True)
class Table:
    """One file of results."""

    title: str
    parts: tuple[Part, ...]


def _http(connections: int) -> Callable[[Contestant, int, Path], Load]:
    return lambda one, seconds, scratch: http_load(
        one.target, one.body, one.headers, connections=connections, seconds=seconds, scratch=scratch
    )


def _grpc(connections: int) -> Callable[[Contestant, int, Path], Load]:
    def load(one: Contestant, seconds: int, scratch: Path) -> Load:
        from e2e.cluster.node.gotools import ensure

        request = scratch / "request.bin"
        request.write_bytes(one.body)
        ghz = ensure(["ghz"])["ghz"]
        return grpc_load(ghz, one.target, PROTO, request, connections=connections, seconds=seconds)

    return load


def _chosen(names: Sequence[str], only: Sequence[str]) -> list[str]:
    return [name for name in names if not only or name in only]


def _iris(model: str) -> Callable[[Path, Sequence[str]], list[Contestant]]:
    """Everybody with the iris model over REST."""

    def contestants(scratch: Path, only: Sequence[str]) -> list[Contestant]:
        file = scratch / model
        ready = "/v2/health/ready"
        found = [by_rest(OURS, pillion(scratch, file), ready), by_rest(LIMIT, limit(scratch, file))]
        return found + [by_rest(name, PEERS[name](scratch, file)) for name in _chosen(list(PEERS), only)]

    return contestants


def _iris_grpc(scratch: Path, only: Sequence[str]) -> list[Contestant]:
    """Those that have the protocol over gRPC, with the iris model and raw tensors."""
    file = scratch / "iris.onnx"
    port = free_port()
    bare = Process(
        "grpc.aio", [sys.executable, BENCH / "servers" / "limit_grpc.py", file, str(port)], SERVER_CPU,
        scratch / "limit-grpc.log",
    )  # fmt: skip
    ours = pillion(scratch, file)
    found = [by_grpc(OURS, ours.process, ours.grpc), by_grpc(LIMIT, bare, f"127.0.0.1:{port}")]
    servings = {name: PEERS[name](scratch, file) for name in _chosen(_BY_GRPC, only)}
    return found + [by_grpc(name, serving.process, serving.grpc) for name, serving in servings.items()]


def _sizes(
    make: Callable[[Path, int], list[Contestant]],
    load: Callable[[int], Callable[[Contestant, int, Path], Load]],
) -> tuple[Part, ...]:
    def part(label: str, size: int) -> Part:
        return Part(label, lambda scratch, _: make(scratch, size), load(identity.connections(size)))

    return tuple(part(label, size) for label, size in identity.SIZES.items())


COMPARISONS: Final[Mapping[str, Table]] = {
    "rest": Table("REST infer, iris as ONNX, everything on", (Part("", _iris("iris.onnx"), _http(_CONNECTIONS)),)),
    "rest-sklearn": Table(
        "REST infer, iris by scikit-learn, everything on", (Part("", _iris("iris.skops"), _http(_CONNECTIONS)),)
    ),
    "grpc": Table(
        "gRPC ModelInfer, iris as ONNX, raw tensors, everything on", (Part("", _iris_grpc, _grpc(_CONNECTIONS)),)
    ),
    "task": Table(
        "A typed task by JSON, validated",
        tuple(Part(title, task_servers(method), _http(_CONNECTIONS)) for title, method in METHODS.items()),
    ),
    "apps": Table(
        "Applications: a raw handler against bare uvicorn, an ingress class against plain FastAPI",
        (
            Part("a raw handler", apps.raw, _http(_CONNECTIONS)),
            Part("an ingress class", apps.ingress, _http(_CONNECTIONS)),
        ),
    ),
    "binary": Table("REST, binary tensors there and back, against a bare echo", _sizes(identity.rest_echo, _http)),
    "raw": Table("gRPC, raw tensors there and back, against a bare echo", _sizes(identity.grpc_echo, _grpc)),
}
