"""What the chart holds that is not written by hand, and ``config/install.yaml``, which Helm renders from the chart.

Helm is the one on PATH, or the one that the test cluster's tools build from source.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path

import yaml

from e2e.cluster.node import gotools
from scripts.chart.admission import admission_template
from scripts.chart.crds import template
from scripts.chart.dashboards import dashboard_files
from scripts.chart.install import install
from scripts.chart.later import later_template
from scripts.chart.readme import readme
from scripts.chart.rules import rules_template
from scripts.chart.values import schema
from scripts.generators import resources

CHART = Path(__file__).resolve().parents[2] / "charts" / "pillion"


def chart_files() -> dict[str, str]:
    """Return the text of each generated file of the chart by its path in it."""
    # Taken from their generator and not from the disk, so that the order of the generators does not matter.
    written = (text for name, text in resources.outputs().items() if name.startswith("crds/"))
    definitions = [yaml.load(text, yaml.CSafeLoader) for text in written]
    return {
        "values.schema.json": json.dumps(schema(), indent=2) + "\n",
        "README.md": readme(),
        "templates/_rules.tpl": rules_template(),
        "templates/_admission.tpl": admission_template(),
        "templates/_later.tpl": later_template(),
        **dashboard_files(),
        **{f"templates/crd-{crd['spec']['names']['plural']}.yaml": template(crd) for crd in definitions},
    }


def outputs() -> dict[str, str]:
    """Return the text of each file by its path from the root."""
    files = chart_files()
    with tempfile.TemporaryDirectory() as scratch:
        chart = Path(scratch, "pillion")
        shutil.copytree(CHART, chart)
        for name, text in files.items():
            (chart / name).parent.mkdir(exist_ok=True)
            (chart / name).write_text(text)
        rendered = install(_helm(), chart)
    return {f"charts/pillion/{name}": text for name, text in files.items()} | {"config/install.yaml": rendered}


@functools.cache
def _helm() -> Path:
    found = shutil.which("helm")
    return Path(found) if found else gotools.ensure(["helm"])["helm"]
