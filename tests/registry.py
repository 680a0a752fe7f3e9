"""The reference registry, which nobody here wrote."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import httpx

from e2e.cluster.node import gotools
from tests.ports import free_port
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["registry"]


@contextlib.contextmanager
def registry(folder: Path, *, htpasswd: str = "", tokens: dict[str, str] | None = None) -> Iterator[str]:
    """The reference registry on a free port of loopback; its host and port. `tokens` says whose tokens it takes.

    A folder that another one has filled keeps its content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    settings: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host},
    }
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd)
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    if tokens is not None:
        settings["auth"] = {"token": tokens}
    (folder / "config.yml").write_text(json.dumps(settings))
    program = gotools.ensure(["registry"])["registry"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [program, "serve", folder / "config.yml"],
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            until_now(lambda: _answers(host))
            yield host
        finally:
            process.terminate()


def _answers(host: str) -> bool:
    with contextlib.suppress(httpx.ConnectError):
        return httpx.get(f"http://{host}/v2/").status_code in {200, 401}
    return False
