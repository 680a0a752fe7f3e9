"""What others keep of the Open Inference Protocol: ``python -m bench.conformance``.

Writes ``bench/results/conformance.md`` and ``.json``. Each server of a pinned environment (``bench/peers``) serves the
iris model, as for the measurements, and is asked by
``pillion conformance`` with a request of its own where its metadata describes no inputs.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.contestants import is_up
from bench.environments import python_of
from bench.models import write_models
from bench.serving import kserve, mlserver, pillion, pytriton
from pillion.conformance.model import Level, Outcome
from pillion.conformance.report import FORMATS
from pillion.conformance.run import examine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.serving import Serving
    from pillion.conformance.model import Report

RESULTS: Final = Path(__file__).parent / "results"
SERVERS: Final[Mapping[str, tuple[Callable[[Path, Path], Serving], str]]] = {
    "Pillion": (pillion, ""),
    "MLServer": (mlserver, "mlserver"),
    "KServe Python": (kserve, "kserve"),
    "Triton by PyTriton": (pytriton, "pytriton"),
}
PACKAGES: Final = {"mlserver": "mlserver", "kserve": "kserve", "pytriton": "nvidia-pytriton"}


def _release(peer: str) -> str:
    if not peer:
        return version("pillion")
    program = f"from importlib.metadata import version; print(version({PACKAGES[peer]!r}))"
    return subprocess.run([python_of(peer), "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def _ask(scratch: Path, start: Callable[[Path, Path], Serving], model: Path) -> Report:
    serving = start(scratch, model)
    serving.process.start(lambda: is_up(f"http://{serving.http}/v2/models/iris/ready"), every=0.1)
    try:
        return examine(
            f"http://{serving.http}",
            grpc=serving.grpc,
            models=["iris"],
            request=None if _describes(serving) else json.loads(serving.body),
        )
    finally:
        serving.process.stop()


def _describes(serving: Serving) -> bool:
    """Whether the metadata has inputs, so that no request has to be given."""
    import urllib.request

    with urllib.request.urlopen(f"http://{serving.http}/v2/models/iris", timeout=10) as answer:
        return bool(json.load(answer).get("inputs"))


def _row(name: str, report: Report) -> str:
    failed = " | ".join(str(report.count(Outcome.FAILED, level)) for level in Level)
    return f"| {name} | {report.count(Outcome.PASSED)} | {failed} | {report.count(Outcome.SKIPPED)} |"


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    """The counts and the failures; ports are those of one run."""
    failed = [result for result in document["results"] if result["outcome"] == "failed"]
    return {"server": document["server"], "counts": document["counts"], "failed": failed}


def main() -> int:
    """Ask every server, and write what came."""
    reports: dict[str, Report] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_models(scratch)
        for name, (start, peer) in SERVERS.items():
            label = f"{name} {_release(peer)}"
            reports[label] = _ask(scratch, start, scratch / ("iris.onnx" if not peer else "iris.skops"))
            print(_row(label, reports[label]), flush=True)
    lines = [
        "# What servers keep of the Open Inference Protocol",
        "",
        (
            f"`python -m bench.conformance`, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}: the same checks"
            " (`pillion conformance`, see docs/reference/conformance.md) on each server with the iris model; the others"
            " in the pinned environments of `bench/peers`, started as for the measurements. A MUST is in the"
            " specification; a SHOULD is what it leaves open and HTTP, gRPC or clients rely on. Extensions that a"
            " server does not claim are skipped."
        ),
        "",
        "| server | passed | MUST failed | SHOULD failed | optional failed | skipped |",
        "|---|---|---|---|---|---|",
        *(_row(name, report) for name, report in reports.items()),
    ]
    for name, report in reports.items():
        # The addresses are those of one run.
        told = FORMATS["markdown"](report).replace(report.url, "http://HOST").replace(report.grpc, "HOST:PORT")
        lines += ["", f"## {name}", "", told.partition("\n\n")[2] or "Nothing failed."]
    (RESULTS / "conformance.md").write_text("\n".join(lines) + "\n")
    documents = {name: _kept(json.loads(FORMATS["json"](report))) for name, report in reports.items()}
    (RESULTS / "conformance.json").write_text(json.dumps(documents, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
