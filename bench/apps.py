"""Applications against what they stand on: a raw handler and bare uvicorn, an ingress class and plain FastAPI."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from bench.contestants import LIMIT, OURS, Contestant, post
from bench.process import Process, free_port
from bench.serving import BENCH, SERVER_CPU

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["ingress", "raw"]

_BODY: Final = b'{"count": 3, "price": 1.5}'
_JSON: Final = {"Content-Type": "application/json"}
_SERVERS: Final = BENCH / "servers"


def raw(scratch: Path, _: Sequence[str]) -> list[Contestant]:
    """A handler that answers with its body, and uvicorn alone."""
    return _pair(scratch, "apps_raw.py:echo", "limit_raw.py", "/shop/x", _BODY)


def ingress(scratch: Path, _: Sequence[str]) -> list[Contestant]:
    """A method of a class as a route, and the same function in FastAPI under uvicorn."""
    return _pair(scratch, "apps_ingress.py:Shop", "apps_ingress.py", "/shop/items/7", b'{"item":7.0,"total":4.5}')


def _pair(scratch: Path, ours: str, bare: str, path: str, expected: bytes) -> list[Contestant]:
    port, other = free_port(), free_port()
    ports = ["--http-port", str(port), "--grpc-port", str(free_port()), "--admin-port", str(free_port())]
    serve = [sys.executable, "-m", "pillion.cli.main", "serve", f"{_SERVERS / ours.partition(':')[0]}:"]
    serve[-1] += ours.partition(":")[2]
    return [
        _contestant(OURS, [*serve, "--route-prefix", "/shop", *ports], port, path, expected, scratch),
        _contestant(
            LIMIT, [sys.executable, _SERVERS / bare, str(other)], other, path.removeprefix("/shop"), expected, scratch
        ),
    ]


def _contestant(
    name: str, command: Sequence[str | Path], port: int, path: str, expected: bytes, scratch: Path
) -> Contestant:
    process = Process(name, list(command), SERVER_CPU, scratch / f"apps-{name}.log")
    url = f"http://127.0.0.1:{port}{path}"

    def check() -> None:
        _, body = post(url, _BODY, _JSON)
        if body != expected:
            raise ValueError(f"{name} answered {body!r}: no ratio is worth printing")

    return Contestant(name, process, url, _BODY, check, _JSON)
