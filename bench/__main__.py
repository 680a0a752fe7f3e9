"""``python -m bench run [--quick] [--only rest|grpc]``."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench.compare import Comparison, compare
from bench.contestants import Contestant, grpc_contestants, rest_body, rest_contestants
from bench.load import Load, grpc_load, http_load
from bench.models import write_models
from bench.report import write

CONNECTIONS = 16
REPOSITORY = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PROTO = REPOSITORY / "runtime/src/pillion/protocol/protos/open_inference.proto"


def _rest(scratch: Path, *, quick: bool) -> Comparison:
    body = rest_body("X", "label")

    def load(contestant: Contestant, seconds: int) -> Load:
        return http_load(contestant.target, body, connections=CONNECTIONS, seconds=seconds, scratch=scratch)

    return compare(
        "REST infer, iris as ONNX, everything on",
        rest_contestants(scratch),
        load,
        rounds=2 if quick else 5,
        seconds=3 if quick else 6,
        warm_up=1 if quick else 2,
        say=print,
    )


def _grpc(scratch: Path, *, quick: bool) -> Comparison:
    from bench.grpc_client import request_bytes
    from e2e.cluster.node.gotools import ensure

    ghz = ensure(["ghz"])["ghz"]
    request = scratch / "request.bin"
    request.write_bytes(request_bytes())

    def load(contestant: Contestant, seconds: int) -> Load:
        return grpc_load(ghz, contestant.target, PROTO, request, connections=CONNECTIONS, seconds=seconds)

    return compare(
        "gRPC ModelInfer, iris as ONNX, raw tensors, everything on",
        grpc_contestants(scratch),
        load,
        rounds=2 if quick else 5,
        seconds=3 if quick else 6,
        warm_up=1 if quick else 2,
        say=print,
    )


def main() -> int:
    """Run the comparisons and write their results."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("action", choices=["run"])
    parser.add_argument("--quick", action="store_true", help="two short rounds; writes nothing")
    parser.add_argument("--only", choices=["rest", "grpc"], help="only one comparison")
    arguments = parser.parse_args()
    for program in ("wrk", "taskset"):
        if shutil.which(program) is None:
            print(
                f"{program} is missing: apt-get install {'wrk' if program == 'wrk' else 'util-linux'}", file=sys.stderr
            )
            return 2
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_models(scratch)
        for stem, run in (("rest", _rest), ("grpc", _grpc)):
            if arguments.only not in {None, stem}:
                continue
            print(stem)
            comparison = run(scratch, quick=arguments.quick)
            comparison.command = f"python -m bench {' '.join(sys.argv[1:])}"
            if not arguments.quick:
                write(comparison, RESULTS, stem)
            for name in comparison.rounds:
                print(f"  {name:10} {comparison.ratio(name, 'limit').median:.2f} of the limit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
