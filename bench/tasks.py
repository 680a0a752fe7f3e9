"""A typed task with validation: Pillion, FastAPI with pydantic by hand, caikit, and the bare limit without any."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from bench.contestants import LIMIT, OURS, Contestant, post
from bench.environments import python_of
from bench.process import Process, free_port
from bench.serving import BENCH, SERVER_CPU

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["METHODS", "task_servers"]

METHODS: Final = {"an async method": "classify_soon", "a plain method, in threads": "classify"}
_BODY: Final = json.dumps(
    {"text": "good good bad and so on", "options": {"top_k": 3, "threshold": -0.5, "tags": ["a", "b"]}}
).encode()
_CAIKIT: Final = json.dumps(
    {
        "model_id": "mood",
        "inputs": "good good bad and so on",
        "parameters": {"options": {"top_k": 3, "threshold": -0.5, "tags": ["a", "b"]}},
    }
).encode()
"""The same in the only form that caikit takes."""
_EXPECTED: Final = [{"name": "good", "score": 1.0}, {"name": "good", "score": 1.0}, {"name": "and", "score": 0.0}]
_JSON: Final = {"Content-Type": "application/json"}


def task_servers(method: str) -> Callable[[Path, Sequence[str]], list[Contestant]]:
    """Everybody with the task as that method."""

    def contestants(scratch: Path, only: Sequence[str]) -> list[Contestant]:
        http, bare, peer = free_port(), free_port(), free_port()
        ports = ["--http-port", str(http), "--grpc-port", str(free_port()), "--admin-port", str(free_port())]
        ours: list[str | Path] = [
            sys.executable,
            "-m",
            "pillion.cli.main",
            "serve",
            f"{BENCH / 'servers' / 'task_service.py'}:Mood",
        ]
        found = [
            _contestant(OURS, [*ours, *ports], http, method, scratch),
            _contestant(LIMIT, [sys.executable, BENCH / "servers" / "limit_task.py", str(bare)], bare, method, scratch),
        ]
        if not only or "FastAPI" in only:
            command: list[str | Path] = [python_of("fastapi"), BENCH / "peers" / "fastapi" / "tasks.py", str(peer)]
            found.append(_contestant("FastAPI", command, peer, method, scratch))
        if not only or "caikit" in only:
            found.append(_caikit(scratch))
        return found

    return contestants


def _caikit(scratch: Path) -> Contestant:
    """Its methods are plain ones, in threads: it is the same in both comparisons."""
    port = free_port()
    process = Process(
        "caikit",
        [python_of("caikit"), BENCH / "peers" / "caikit" / "serve.py", str(port)],
        SERVER_CPU,
        scratch / "task-caikit.log",
    )
    url = f"http://127.0.0.1:{port}/api/v1/task/classify"

    def check() -> None:
        _, body = post(url, _CAIKIT, _JSON)
        answer: Any = json.loads(body)
        if answer != {"labels": _EXPECTED}:
            raise ValueError(f"caikit answered {answer}: no ratio is worth printing")

    return Contestant("caikit", process, url, _CAIKIT, check, _JSON)


def _contestant(name: str, command: list[str | Path], port: int, method: str, scratch: Path) -> Contestant:
    process = Process(name, command, SERVER_CPU, scratch / f"task-{name}.log")
    url = f"http://127.0.0.1:{port}/{method}"

    def check() -> None:
        _, body = post(url, _BODY, _JSON)
        answer: Any = json.loads(body)
        if answer != _EXPECTED:
            raise ValueError(f"{name} answered {answer}: no ratio is worth printing")

    return Contestant(name, process, url, _BODY, check, _JSON)
