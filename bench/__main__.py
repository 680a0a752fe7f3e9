"""``python -m bench run [--quick] [--only TABLE] [--contestants NAME,...]``, ``python -m bench check``.

``run`` measures and writes ``bench/results/TABLE.md``, ``.json``, ``.png`` and ``.svg``; ``check`` starts every server
once and looks at its answer, without a load.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.compare import compare
from bench.comparisons import COMPARISONS
from bench.contestants import LIMIT, OURS
from bench.models import write_models
from bench.report import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.comparisons import Table

RESULTS = Path(__file__).parent / "results"
QUICK = ("rest", "rest-sklearn", "grpc")
"""The tables of a quick run."""
QUICK_PEERS = ("MLServer",)
"""The peers of a quick run: one, for the scale."""


def _run(stem: str, table: Table, scratch: Path, peers: Sequence[str], *, quick: bool, command: str) -> None:
    comparisons = []
    for part in table.parts:
        print(f"{table.title}{': ' if part.title else ''}{part.title}", flush=True)
        comparison = compare(
            part.title,
            part.contestants(scratch, peers),
            lambda one, seconds, load=part.load: load(one, seconds, scratch),  # type: ignore[misc]  # a default binds it
            rounds=2 if quick else 5,
            seconds=3 if quick else 6,
            warm_up=1 if quick else 2,
            say=lambda line: print(line, flush=True),
        )
        comparisons.append(comparison)
        for name in comparison.rounds:
            print(f"  {name:12} {comparison.ratio(name, LIMIT).median:.2f} of the limit")
    if not quick:
        write(table.title, command, comparisons, RESULTS, stem)


def _check(stem: str, table: Table, scratch: Path, peers: Sequence[str]) -> bool:
    """Whether every server comes up and answers right."""
    good = True
    for part in table.parts:
        for one in part.contestants(scratch, peers):
            try:
                took = one.process.start(one.is_ready)
                one.check()
            except (OSError, ValueError, RuntimeError) as error:
                good = False
                print(f"{stem} {part.title} {one.name}: {error}", flush=True)
                print("\n".join(one.process.log.read_text(errors="replace").splitlines()[-10:]))
            else:
                memory = one.process.rss_mib()
                print(f"{stem} {part.title} {one.name}: right, up in {took:.1f} s, {memory:.0f} MiB", flush=True)
            finally:
                one.process.stop()
    return good


def main() -> int:
    """Run the comparisons and write their results."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("action", choices=["run", "check"])
    parser.add_argument("--quick", action="store_true", help="two short rounds; writes nothing")
    parser.add_argument("--only", choices=list(COMPARISONS), action="append", help="only this table; may be repeated")
    parser.add_argument("--contestants", help=f"only these peers, by commas ({OURS} and the {LIMIT} always run)")
    arguments = parser.parse_args()
    for program in ("wrk", "taskset"):
        if shutil.which(program) is None:
            package = "wrk" if program == "wrk" else "util-linux"
            print(f"{program} is missing: apt-get install {package}", file=sys.stderr)
            return 2
    peers = arguments.contestants.split(",") if arguments.contestants else QUICK_PEERS if arguments.quick else ()
    stems = arguments.only or (QUICK if arguments.quick else list(COMPARISONS))
    good = True
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_models(scratch)
        for stem in stems:
            if arguments.action == "check":
                good &= _check(stem, COMPARISONS[stem], scratch, peers)
            else:
                command = f"python -m bench {' '.join(sys.argv[1:])}"
                _run(stem, COMPARISONS[stem], scratch, peers, quick=arguments.quick, command=command)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
