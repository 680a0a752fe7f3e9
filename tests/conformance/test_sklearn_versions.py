"""Models that older scikit-learns saved themselves: what today's runtime says of them, and what their variants do."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sklearn

from pillion.backends.api import LoadFailure, LoadOptions, ModelLoadError, backend_named
from pillion.libraries import image_variant, mismatches
from tests.conformance.environments import environment_of

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("runtime-sklearn-*.lock"))


def saved_by(lock: Path, folder: Path) -> dict[str, Any]:
    """Let the variant save its models and serve one of them; what it says of itself."""
    done = subprocess.run(
        [environment_of(lock.stem, lock), "-P", Path(__file__).parent / "scripts" / "old_sklearn.py", folder],
        env=os.environ | {"PYTHONPATH": str(ROOT / "runtime" / "src")},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_variant_serves_its_own_models_and_the_base_runtime_names_the_variant(lock: Path, tmp_path: Path) -> None:
    variant = lock.stem.removeprefix("runtime-")
    told = saved_by(lock, tmp_path)
    assert f"sklearn-{'.'.join(told['version'].split('.')[:2])}" == variant
    assert ([], True) == (list(mismatches(told["saved"], told["loading"])), told["agrees"])

    simple = backend_named("sklearn").load(tmp_path / "simple.skops", LoadOptions())
    assert simple.libraries is not None
    (mismatch,) = mismatches(simple.libraries.saved, simple.libraries.loading)
    assert (told["version"], sklearn.__version__) == (mismatch.saved, mismatch.loading)
    assert variant == image_variant(mismatch)

    # What the newer version cannot read at all names the runtime that can, whatever the format.
    for name in ("pipeline.joblib", "pipeline.skops"):
        assert (str(mismatch), variant) == told_of(tmp_path / name)


def told_of(path: Path) -> tuple[str, str]:
    """The mismatch and the variant that loading a file tells of, whether it can be loaded or not."""
    refusal: ModelLoadError | None = None
    try:
        libraries = backend_named("sklearn").load(path, LoadOptions(allow_pickle=True)).libraries
    except ModelLoadError as error:
        refusal = error
    if refusal is None:
        assert libraries is not None
        (mismatch,) = mismatches(libraries.saved, libraries.loading)
        return str(mismatch), image_variant(mismatch)
    assert refusal.cause is LoadFailure.LIBRARY_MISMATCH, refusal
    said = re.search(r"was (saved by .*), which cannot read it", refusal.message)
    named = re.search(r"runtimeVersion: (\S+)", refusal.remedy or "")
    assert said, refusal
    assert named, refusal
    return said[1], named[1]
