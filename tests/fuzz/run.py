"""Fuzz every target for some seconds: ``python -m tests.fuzz.run SECONDS [TARGET ...]``.

New inputs are kept in the user's cache folder from run to run; what breaks a target is written to the current folder,
named, and belongs into ``corpus/TARGET`` with the mend.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.conformance.environments import environment_of
from tests.fuzz.targets import TARGETS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def main(seconds: int, chosen: list[str]) -> int:
    """Run the targets one after the other; gives how many broke."""
    python = environment_of("fuzz", HERE / "requirements.lock")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pillion" / "fuzz"
    # The libraries are those of this environment; atheris alone is in its own, as it has wheels for Linux only.
    path = os.pathsep.join([str(ROOT), str(ROOT / "runtime" / "src"), sysconfig.get_path("purelib")])
    broken = 0
    for target in chosen or list(TARGETS):
        found = cache / target
        found.mkdir(parents=True, exist_ok=True)
        corpora = [str(found), str(HERE / "corpus" / target)]
        options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-verbosity=0"]
        print(f"{target}: {seconds} s", flush=True)  # noqa: T201 - a command says what it does
        command: list[str | Path] = [
            python,
            "-m",
            "tests.fuzz.fuzz",
            target,
            *corpora,
            *options,
            f"-artifact_prefix={target}-",
        ]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT, check=False)
        if done.returncode != 0:
            print(f"{target}: broken; its input belongs into tests/fuzz/corpus/{target}")  # noqa: T201 - as above
            broken += 1
    return broken


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
