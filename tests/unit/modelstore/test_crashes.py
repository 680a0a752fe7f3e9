"""A process that is killed at any step leaves whole versions only, and the store goes on.

The process is killed before and after each call that can change what a disk holds: each one is a crash point.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from pillion.modelstore import ModelStore

if TYPE_CHECKING:
    from pathlib import Path

VICTIM = """
import os, signal, sys
from pathlib import Path
import pillion.modelstore.staging as staging, pillion.modelstore.store as modelstore, pillion.storage.place as place

base, source = Path(sys.argv[1]), Path(sys.argv[2])
left = 0

def dying(call):
    def wrapped(*arguments, **named):
        step()
        result = call(*arguments, **named)
        step()
        return result
    return wrapped

def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "chmod", "fchmod"):
    setattr(os, name, dying(getattr(os, name)))
staging.sync_files = lambda paths: [place._sync_file(path) for path in paths]  # a fork of this has no threads

def run(folder):
    said = (folder / "said").open("a", buffering=1)
    store = modelstore.ModelStore(folder / "store")
    store.register("iris", source, {"run": 1})
    print("registered", file=said)
    store.set_deployed("iris", "2")
    print("deployed", file=said)
    store.alias("iris", "stable", "2")
    print("aliased", file=said)
    store.delete("iris", "1")
    print("deleted", file=said)

for number in range(1, 500):
    folder = base / str(number)
    modelstore.ModelStore(folder / "store").register("iris", source)
    child = os.fork()
    if child == 0:
        left = number
        run(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_crash_at_any_step_leaves_whole_versions_only(tmp_path: Path) -> None:
    source = tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    (source / "model.bin").write_bytes(b"weights")
    (source / "deep" / "words.txt").write_bytes(b"a b c")
    digest = ModelStore(tmp_path / "whole").register("iris", source).digest
    stores = tmp_path / "stores"
    command = [sys.executable, "-c", VICTIM, str(stores), str(source)]
    subprocess.run(command, check=True, timeout=60)

    points = sorted(stores.iterdir(), key=lambda folder: int(folder.name))
    assert len(points) > 50, "there were fewer crash points than the store has steps"
    for folder in points:
        said = (folder / "said").read_text().split() if (folder / "said").exists() else []
        store = ModelStore(folder / "store")
        assert [] == list((store.folder / "staging").iterdir()), folder
        found = {version.version: version for version in store.versions("iris")}
        for version in found.values():
            assert digest == version.digest
            assert b"weights" == (version.path / "model.bin").read_bytes()
            assert b"a b c" == (version.path / "deep" / "words.txt").read_bytes()
        # What was said to be done is done.
        assert ("registered" in said) <= ("2" in found)
        assert ("deployed" in said) <= (["2"] == [version.version for version in store.deployed()])
        assert ("aliased" in said) <= ({"stable": "2"} == store.aliases("iris"))
        assert ("deleted" in said) <= ("1" not in found)
        # And it goes on, with a number of its own.
        assert max(map(int, found)) + 1 == int(store.register("iris", source).version)
    assert "deleted" in said, "the last run was not to be killed"
