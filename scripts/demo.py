"""`make demo`: train a classifier, serve it, and call it over REST, HTTPS and gRPC. Needs no cluster and no root.

Everything runs on loopback, on ports the system chooses, and everything it writes goes to `.demo/`.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".demo"
PILLION = [sys.executable, "-m", "pillion.cli.main"]
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.5, 1.5], [6.9, 3.1, 5.4, 2.1]]
SPECIES = ("setosa", "versicolor", "virginica")
CALLS = 50

console = Console()


@dataclass(frozen=True, slots=True)
class Way:
    """One way in: how it is called, and what came back."""

    name: str
    address: str
    predictions: list[int]
    milliseconds: float


class DemoError(Exception):
    """A step failed; the text is what its program said."""


def run(command: list[str]) -> str:
    """Run a program to its end and give what it printed."""
    done = subprocess.run(command, cwd=FOLDER, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def environment() -> dict[str, str]:
    """The environment without settings of the user's own, and with a cache inside the demo's folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PILLION_")}
    return kept | {"XDG_CACHE_HOME": str(FOLDER / "cache")}


class Served:
    """`pillion serve -f` as a process of its own."""

    def __init__(self, log: str, *options: str) -> None:
        self._command = [*PILLION, "serve", "-f", "inferenceservice.yaml", "--json", *options]
        self._command += ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0"]
        self._log = FOLDER / log
        with self._log.open("w") as errors:
            self._process = subprocess.Popen(
                self._command, cwd=FOLDER, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def ports(self) -> dict[str, int]:
        """Wait until the model is ready; the ports by name."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise DemoError(f"{' '.join(self._command)}\n{self._log.read_text()}")
        answer: dict[str, Any] = json.loads(line)
        ports: dict[str, int] = answer["ports"]
        return ports

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


def call_rest(url: str, ca: Path | None) -> Way:
    """Predict with httpx over one connection, as an application would."""
    import httpx  # noqa: PLC0415 - as late as possible: the progress shows at once

    trust = True if ca is None else ssl.create_default_context(cafile=str(ca))
    tensor = {"name": "input", "shape": [3, 4], "datatype": "FP64", "data": FLOWERS}
    with httpx.Client(base_url=url, verify=trust) as client:
        durations = []
        for _ in range(CALLS):
            started = time.perf_counter()
            response = client.post("/v2/models/iris/infer", json={"inputs": [tensor]})
            durations.append(time.perf_counter() - started)
            response.raise_for_status()
    predictions = response.json()["outputs"][0]["data"]
    return Way("HTTPS" if ca else "REST", url, predictions, 1000 * sorted(durations)[CALLS // 2])


def call_grpc(target: str, ca: Path | None) -> Way:
    """Predict with grpc over one channel."""
    import grpc  # noqa: PLC0415 - as above
    import numpy as np  # noqa: PLC0415 - as above

    from pillion.protocol.protos import open_inference_pb2 as pb  # noqa: PLC0415 - as above

    request = pb.ModelInferRequest(model_name="iris")
    request.inputs.add(name="input", datatype="FP64", shape=[3, 4])
    request.raw_input_contents.append(np.array(FLOWERS, dtype=np.float64).tobytes())
    channel = (
        grpc.insecure_channel(target)
        if ca is None
        else grpc.secure_channel(target, grpc.ssl_channel_credentials(ca.read_bytes()))
    )
    with channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        durations = []
        for _ in range(CALLS):
            started = time.perf_counter()
            response = infer(request, timeout=10)
            durations.append(time.perf_counter() - started)
    predictions = np.frombuffer(response.raw_output_contents[0], dtype=np.int64).tolist()
    return Way("gRPC" if ca is None else "gRPC + TLS", target, predictions, 1000 * sorted(durations)[CALLS // 2])


def demonstrate(progress: Progress) -> list[Way]:
    """The steps, each with a line of its own on the screen."""

    @contextmanager
    def step(doing: str, done: str) -> Iterator[None]:
        task = progress.add_task(doing, total=1)
        yield
        progress.update(task, completed=1, description=f"[green]{done}")

    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name in ("train.py", "inferenceservice.yaml"):
        shutil.copy(ROOT / "examples" / "iris" / name, FOLDER)
    with step("training on 150 iris flowers", "trained: iris.skops"):
        progress.console.print(run([sys.executable, "train.py", "."]))
    certificate = FOLDER / "cache" / "pillion" / "tls" / "localhost.crt"
    with Served("plain.log") as plain, Served("tls.log", "--tls-self-signed") as secure:
        with step("starting: one server in plaintext, one with TLS", "both servers are ready"):
            open_ports, tls_ports = plain.ports(), secure.ports()
        with step("calling over REST and gRPC", "called over REST and gRPC"):
            ways = [
                call_rest(f"http://127.0.0.1:{open_ports['http']}", None),
                call_grpc(f"127.0.0.1:{open_ports['grpc']}", None),
            ]
        with step("calling over HTTPS and gRPC with TLS", "called over HTTPS and gRPC with TLS"):
            ways += [
                call_rest(f"https://127.0.0.1:{tls_ports['http']}", certificate),
                call_grpc(f"127.0.0.1:{tls_ports['grpc']}", certificate),
            ]
    return ways


def main() -> int:
    """Run the demo; 0 when every way in gave the same, right answer."""
    began = time.monotonic()
    columns = (SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            ways = demonstrate(progress)
    except DemoError as failure:
        console.print(f"[red]the demo failed:[/] {failure}")
        return 1
    table = Table("way in", "address", "prediction", "median", title="three flowers, four ways in")
    for way in ways:
        table.add_row(
            way.name, way.address, ", ".join(SPECIES[i] for i in way.predictions), f"{way.milliseconds:.2f} ms"
        )
    console.print(table)
    right = all(way.predictions == [0, 1, 2] for way in ways)
    console.print(
        f"[green]all four agree[/] ({time.monotonic() - began:.0f} s). "
        "Serve it yourself: pillion serve -f examples/iris/inferenceservice.yaml"
        if right
        else "[red]the answers are not what was trained[/]"
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
