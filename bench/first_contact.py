"""What a stranger waits for: ``python -m bench.first_contact [ROUNDS]``; writes ``bench/results/first-contact.md`` and
``.json``.

In an empty folder with a virtual environment that Python's own ``venv`` has just made, the two commands of the README
are typed: ``pip install`` of the wheel of this checkout with the extras ``serve`` and ``sklearn``, then ``pillion
serve`` of a ``.skops`` file that Pillion has never seen. The clock ends when the first prediction has come and is what
the estimator says. Cold: pip's cache is empty, so everything is downloaded. Warm: a new environment, the same cache.

``pillion --help`` is timed in the base install, interleaved with the bare interpreter of the same environment. Cold:
the environment's files are dropped from the page cache before each start. The size of an install is what pip recorded:
its files, byte code included, without pip itself.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import skops.io
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

from bench.process import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
HELP_STARTS = 15
GOALS = {"first_prediction_seconds": 60.0, "help_seconds": 0.3, "base_install_mb": 40.0}
SIZES = """
import json, os
from importlib.metadata import distributions
sizes = {}
for each in distributions():
    files = {os.path.realpath(each.locate_file(name)) for name in each.files or []}
    sizes[each.name] = sum(os.path.getsize(name) for name in files if os.path.exists(name))
print(json.dumps(sizes))
"""
"""Run by the interpreter of an environment: the bytes of each package."""


@dataclass(frozen=True, slots=True)
class Contact:
    """One way from an empty environment to an answer, seconds."""

    environment: float
    """Making the virtual environment, which the two commands find there."""
    install: float
    install_processor: float
    predict: float
    """From typing ``pillion serve`` to the answer."""

    @property
    def total(self) -> float:
        """Both commands."""
        return self.install + self.predict


def wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


def own_model(folder: Path) -> tuple[Path, dict[str, object], list[int]]:
    """Somebody's file, a request for three rows of it, and what the estimator says to them."""
    features, classes = load_wine(return_X_y=True)
    model = RandomForestClassifier(50, random_state=0).fit(features, classes)
    path = folder / "wine.skops"
    skops.io.dump(model, path)
    rows = features[::60]
    return path, {"instances": rows.tolist()}, [int(each) for each in model.predict(rows)]


def make_environment(folder: Path) -> float:
    """Seconds that making an environment takes."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return time.monotonic() - began


def install(environment: Path, what: str, cache: Path) -> tuple[float, float]:
    """Seconds, and processor seconds, that ``pip install`` takes."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command: list[str | Path] = [environment / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet", what]
    subprocess.run(command, check=True, env=os.environ | {"PIP_CACHE_DIR": str(cache)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, used


def first_prediction(environment: Path, model: Path, body: dict[str, object], expected: list[int]) -> float:
    """Seconds from ``pillion serve`` to the right answer; another one is an error."""
    ports = [part for kind in ("http", "grpc", "admin") for part in (f"--{kind}-port", str(free_port()))]
    command: list[str | Path] = [environment / "bin" / "pillion", "serve", model, *ports]
    began = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        printed = server.stdout.readline()
        if " ready in " not in printed:
            raise RuntimeError(f"pillion serve said {printed!r}")
        connection = http.client.HTTPConnection("127.0.0.1", int(ports[1]), timeout=10)
        connection.request("POST", f"/v1/models/{model.stem}:predict", json.dumps(body))
        answer = json.load(connection.getresponse())
        took = time.monotonic() - began
        connection.close()
    finally:
        server.terminate()
        server.communicate(timeout=30)
    if answer != {"predictions": expected}:
        raise RuntimeError(f"the estimator says {expected}, Pillion {answer}")
    return took


def contact(folder: Path, package: Path, cache: Path) -> Contact:
    """From an empty folder to an answer."""
    model, body, expected = own_model(folder)
    made = make_environment(folder / "venv")
    took, used = install(folder / "venv", f"pillion[serve,sklearn] @ {package.as_uri()}", cache)
    return Contact(made, took, used, first_prediction(folder / "venv", model, body, expected))


def forget(folder: Path) -> None:
    """Have the kernel drop a folder's files from its page cache, so that they are read from disk again."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(command: Sequence[str | Path]) -> float:
    """Seconds that a command takes."""
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def help_starts(environment: Path) -> dict[str, list[float]]:
    """Seconds of interleaved starts: the interpreter alone, and help with and without files in memory."""
    found: dict[str, list[float]] = {"interpreter": [], "help": [], "interpreter, cold": [], "help, cold": []}
    interpreter: list[str | Path] = [environment / "bin" / "python", "-c", "pass"]
    helps: list[str | Path] = [environment / "bin" / "pillion", "--help"]
    seconds(helps)
    for _ in range(HELP_STARTS):
        found["interpreter"].append(seconds(interpreter))
        found["help"].append(seconds(helps))
        forget(environment)
        found["interpreter, cold"].append(seconds(interpreter))
        forget(environment)
        found["help, cold"].append(seconds(helps))
    return found


def sizes(environment: Path) -> dict[str, float]:
    """Megabytes (10**6 bytes) of each package, the largest first, without what ``venv`` puts there."""
    printed = subprocess.run([environment / "bin" / "python", "-c", SIZES], check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(printed.stdout)
    kept = {name: size / 1e6 for name, size in found.items() if name not in {"pip", "setuptools"}}
    return dict(sorted(kept.items(), key=lambda item: -item[1]))


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median, lowest and highest."""
    return f"**{statistics.median(values):.{digits}f}** ({min(values):.{digits}f}, {max(values):.{digits}f})"


def report(
    command: str,
    contacts: dict[str, list[Contact]],
    starts: dict[str, list[float]],
    base: dict[str, float],
    whole: dict[str, float],
) -> str:
    """The three tables."""
    lines = [
        "# First contact",
        "",
        (
            f"`{command}` (rounds: {len(contacts['empty'])}) on {os.cpu_count()} processors, Python "
            f"{platform.python_version()}. Medians, in brackets the lowest and the highest."
        ),
        "",
        "## An empty environment to the first prediction of one's own .skops file",
        "",
        "Two commands: `pip install` of the wheel with `[serve,sklearn]`, `pillion serve wine.skops`. Goal: 60 s.",
        "",
        "| pip's cache | both commands, s | pip install, s | its processor time, s | serve to answer, s |",
        "|---|---|---|---|---|",
    ]
    for kind, found in contacts.items():
        cells = [
            spread([each.total for each in found]),
            *(
                spread([getattr(each, figure) for each in found])
                for figure in ("install", "install_processor", "predict")
            ),
        ]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    made = statistics.median(each.environment for found in contacts.values() for each in found)
    lines += [
        "",
        f"Making the environment (`python -m venv`) takes {made:.1f} s before that.",
        "",
        "## pillion --help",
        "",
        f"{HELP_STARTS} interleaved starts in the base install. Goal: 0.3 s.",
        "",
        "| the environment's files | interpreter alone, s | `pillion --help`, s |",
        "|---|---|---|",
        f"| in memory | {spread(starts['interpreter'], 3)} | {spread(starts['help'], 3)} |",
        f"| dropped before each start | {spread(starts['interpreter, cold'], 3)} | {spread(starts['help, cold'], 3)} |",
        "",
        "## On disk",
        "",
        f"`pip install pillion`: **{sum(base.values()):.1f} MB** in {len(base)} packages, byte code included. Goal:",
        f"40 MB. With `[serve,sklearn]`: {sum(whole.values()):.0f} MB.",
        "",
        "| package | MB |",
        "|---|---|",
        *(f"| {name} | {size:.1f} |" for name, size in list(base.items())[:10]),
        f"| {len(base) - 10} more | {sum(list(base.values())[10:]):.1f} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print and write; 1 where a goal is missed."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    command = f"python -m bench.first_contact {rounds}"
    contacts: dict[str, list[Contact]] = {"empty": [], "filled": []}
    with tempfile.TemporaryDirectory() as scratch:
        package = wheel(Path(scratch, "dist"))
        for number in range(rounds):
            for kind, found in contacts.items():
                folder = Path(scratch, f"{kind}-{number}")
                folder.mkdir()
                found.append(contact(folder, package, Path(scratch, f"cache-{number}")))
        whole = sizes(folder / "venv")
        make_environment(Path(scratch, "base"))
        install(Path(scratch, "base"), f"pillion @ {package.as_uri()}", Path(scratch, "cache-0"))
        base = sizes(Path(scratch, "base"))
        starts = help_starts(Path(scratch, "base"))
    measured = {
        "first_prediction_seconds": statistics.median(each.total for each in contacts["empty"]),
        "help_seconds": statistics.median(starts["help, cold"]),
        "base_install_mb": sum(base.values()),
    }
    figures = {
        "command": command,
        "goals": {name: {"goal": goal, "measured": round(measured[name], 3)} for name, goal in GOALS.items()},
        "contacts": {kind: [asdict(each) for each in found] for kind, found in contacts.items()},
        "help_starts": starts,
        "base_mb": base,
        "with_serve_and_sklearn_mb": whole,
    }
    (RESULTS / "first-contact.json").write_text(json.dumps(figures, indent=1) + "\n")
    (RESULTS / "first-contact.md").write_text(report(command, contacts, starts, base, whole))
    print((RESULTS / "first-contact.md").read_text())
    missed = [name for name, goal in GOALS.items() if measured[name] > goal]
    if missed:
        sys.stderr.write(f"missed: {', '.join(missed)}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
