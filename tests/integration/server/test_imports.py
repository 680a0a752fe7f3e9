"""What a server imports until it is ready is counted: a start that grows is seen here, whatever the machine does."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.server.process import environment, write_config

if TYPE_CHECKING:
    from tests.models import IrisModels

OURS: Final = 174
OTHERS: Final = 178
"""Modules of ours, and of libraries that are not Python's own, when one ONNX model is ready. More is a decision."""
NEVER: Final = frozenset(
    {
        "argparse",
        "click",
        "fastapi",
        "google.protobuf",
        "multiprocessing.connection",
        "opentelemetry",
        "pillion.jobs",
        "pillion.management",
        "pillion.protocol.v1",
        "pillion.transport.http.guard",
        "prometheus_client",
        "pydantic",
        "sqlite3",
        "starlette",
        "typer",
        "uvicorn.main",
        "yaml",
    }
)
"""What nothing needs before it is asked for."""
_PROGRAM: Final = """
import json, os, sys
from pillion.server import __main__ as command
from pillion.server import preload

preload.import_libraries()  # as the command does before it imports the server
from pillion.server.server import Server

start = Server.start


def watched(self, **_):
    def loaded(server, seconds):
        os.write(1, json.dumps({"ready": server.ready(), "modules": sorted(sys.modules)}).encode())
        os._exit(0)

    start(self, on_loaded=loaded)


Server.start = watched
command.main(["--config", sys.argv[1]])
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, iris: IrisModels) -> frozenset[str]:
    """The modules of a server at the moment when its ONNX model is ready."""
    folder = tmp_path_factory.mktemp("imports")
    local = {"host": "127.0.0.1", "port": 0}
    settings = {"http": local, "grpc": local, "admin": local, "control": {"socket": str(folder / "control.sock")}}
    write_config(folder / "runtime.yaml", {"iris": iris.onnx}, settings)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, folder / "runtime.yaml"],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["ready"], done.stderr
    return frozenset(report["modules"])


def test_a_ready_server_has_imported_few_modules(imported: frozenset[str]) -> None:
    ours = {name for name in imported if name.partition(".")[0] == "pillion"}
    others = {name for name in imported - ours if name.partition(".")[0] not in sys.stdlib_module_names}
    assert len(ours) <= OURS, sorted(ours)
    assert len(others) <= OTHERS, sorted(others)


def test_a_ready_server_has_imported_nothing_that_only_some_requests_need(imported: frozenset[str]) -> None:
    assert not imported & NEVER
    assert "onnxruntime" in imported


def test_uvicorn_is_whole_for_who_asks_for_its_command_line() -> None:
    program = (
        "from pillion.server.preload import without_command_line as without\n"
        "import sys\n"
        "assert without() is sys.modules['uvicorn'] and without() is None\n"
        "assert 'click' not in sys.modules\n"
        "import uvicorn\n"
        "from uvicorn.lifespan.off import LifespanOff\n"
        "assert 'click' not in sys.modules and 'uvicorn.main' not in sys.modules\n"
        "config = uvicorn.Config\n"
        "assert callable(uvicorn.run) and uvicorn.__version__ and uvicorn.Config is config\n"
        "from uvicorn import Server\n"
        "assert Server is uvicorn.Server and 'uvicorn.main' in sys.modules\n"
        "try:\n"
        "    uvicorn.nothing\n"
        "except AttributeError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "module 'uvicorn' has no attribute 'nothing'\n", done.stderr
