"""Generates what the chart holds that is not written by hand.

`python -m scripts.chart` writes; with `--check` it writes nothing and fails where a file differs. Helm is needed for
`config/install.yaml`: the one on PATH, or the one that the test cluster's tools build.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from e2e.cluster.node import gotools
from scripts.chart.crds import templates
from scripts.chart.install import install
from scripts.chart.readme import readme
from scripts.chart.rules import rules_template
from scripts.chart.values import schema

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "charts" / "pillion"


def main() -> int:
    """Write or check every generated file; return the exit code: 1 where `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m scripts.chart", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file would change")
    check: bool = parser.parse_args().check
    changed = _apply(chart_files(), check=check)
    # What Helm renders depends on the files above.
    changed += _apply({ROOT / "config" / "install.yaml": install(_helm(), CHART)}, check=check)
    for path in changed:
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(ROOT)}")
    if changed and check:
        print("run `python -m scripts.chart` and commit what it writes", file=sys.stderr)
        return 1
    return 0


def chart_files() -> dict[Path, str | None]:
    """The text of each generated file of the chart; None for one that is no longer generated."""
    folder = CHART / "templates"
    stale: dict[Path, str | None] = dict.fromkeys(folder.glob("crd-*.yaml"))
    return stale | {
        CHART / "values.schema.json": json.dumps(schema(), indent=2) + "\n",
        CHART / "README.md": readme(),
        folder / "_rules.tpl": rules_template(),
        **{folder / name: text for name, text in templates(ROOT / "crds").items()},
    }


def _apply(files: dict[Path, str | None], *, check: bool) -> list[Path]:
    changed = [path for path, text in files.items() if text != (path.read_text() if path.exists() else None)]
    for path in changed if not check else []:
        text = files[path]
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return changed


def _helm() -> Path:
    found = shutil.which("helm")
    return Path(found) if found else gotools.ensure(["helm"])["helm"]


if __name__ == "__main__":
    sys.exit(main())
