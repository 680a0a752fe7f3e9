"""A backend's call beside the library's own: ``python -m bench.backends``; writes ``backends.md`` and ``.json``.

In one process and one thread, interleaved. The yardstick is the call that a program with the library would make, on an
array that is there already; ours takes and gives the tensors of a request. Models with ``accelerate: onnx``
are measured against the estimator that they stand for. The median of the rounds' ratios, with the spread.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import onnxruntime as ort
import skops.io
import xgboost as xgb
from skl2onnx import to_onnx
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from pillion.acceleration.accelerate import accelerated
from pillion.backends.api import LoadOptions, backend_named
from pillion.tensors import Tensor, datatype_of

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"
ROWS = (1, 8, 32, 1000)
WIDTH = 20
ROUNDS = 5
SECONDS = 0.12
"""Of each measurement."""
Array = np.ndarray[Any, np.dtype[Any]]


def best(work: Callable[[], object]) -> float:
    """Microseconds of one call, the least of many."""
    shortest = float("inf")
    deadline = time.perf_counter() + SECONDS
    while time.perf_counter() < deadline:
        began = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - began)
    return shortest * 1e6


def contestants(folder: Path) -> dict[str, tuple[Callable[[Array], object], Any, np.dtype[Any]]]:
    """By name: the library's own call, our model, and the dtype of the rows."""
    features, classes = make_classification(20_000, WIDTH, n_informative=12, random_state=0)
    some, labels = features[:3000], classes[:3000]
    double, single = np.dtype(np.float64), np.dtype(np.float32)
    found: dict[str, tuple[Callable[[Array], object], Any, np.dtype[Any]]] = {}

    def load(backend: str, file: str) -> Any:  # noqa: ANN401 - as the registry returns it
        return backend_named(backend).load(folder / file, LoadOptions())

    linear = LogisticRegression().fit(some, labels)
    for name, estimator in (
        ("sklearn, logistic regression", linear),
        ("sklearn, forest of 100", RandomForestClassifier(100, random_state=0).fit(some, labels)),
        ("sklearn, histogram boosting", HistGradientBoostingClassifier().fit(some, labels)),
    ):
        skops.io.dump(estimator, folder / "m.skops")
        model = load("sklearn", "m.skops")
        found[name] = (estimator.predict, model, double)
        other, said = accelerated(model, name, 1)
        if said.by:
            found[f"{name}, accelerate: onnx"] = (estimator.predict, other, double)
        else:
            print(f"{name}: {said.note}")
    converted: Any = to_onnx(linear, some[:1].astype(np.float32), options={"zipmap": False})
    (folder / "m.onnx").write_bytes(converted.SerializeToString())
    session = ort.InferenceSession(folder / "m.onnx", providers=["CPUExecutionProvider"])
    found["onnx, logistic regression"] = (lambda rows: session.run(None, {"X": rows}), load("onnx", "m.onnx"), single)
    parameters = {"objective": "binary", "num_leaves": 255, "min_data_in_leaf": 2, "verbosity": -1, "num_threads": 1}
    light = lgb.train(parameters, lgb.Dataset(features, classes), num_boost_round=1200)
    light.save_model(folder / "m.txt")
    size = (folder / "m.txt").stat().st_size / 1e6
    found[f"lightgbm, {size:.0f} MB"] = (
        lambda rows: light.predict(rows, num_threads=1), load("lightgbm", "m.txt"), double,
    )  # fmt: skip
    boosted = xgb.train({"objective": "binary:logistic", "nthread": 1}, xgb.DMatrix(features, classes), 200)
    boosted.save_model(folder / "m.json")
    found["xgboost, 200 trees"] = (
        lambda rows: boosted.inplace_predict(rows, validate_features=False), load("xgboost", "m.json"), single,
    )  # fmt: skip
    return found


def measured(own: Callable[[Array], object], model: Any, rows: Array) -> dict[str, float]:  # noqa: ANN401 - as above
    """Medians of the rounds, and the spread of their ratios."""
    tensor = Tensor(model.rules[0].spec.name, datatype_of(rows.dtype), rows)
    pairs = [
        (best(lambda: own(rows)), best(lambda: model.predict([tensor], model.default_outputs, None)))
        for _ in range(ROUNDS)
    ]
    ratios = [theirs / ours for theirs, ours in pairs]
    return {
        "library_us": round(statistics.median(theirs for theirs, _ in pairs), 1),
        "ours_us": round(statistics.median(ours for _, ours in pairs), 1),
        "ratio": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
    }


def main() -> int:
    """Measure, print and write."""
    figures: dict[str, dict[int, dict[str, float]]] = {}
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, (own, model, dtype) in contestants(Path(folder)).items():
            figures[name] = {
                rows: measured(own, model, np.ascontiguousarray(random.normal(0, 1, (rows, WIDTH)), dtype))
                for rows in ROWS
            }
    (RESULTS / "backends.json").write_text(json.dumps(figures, indent=2) + "\n")
    lines = [
        "# A backend's call beside the library's own\n",
        "`python -m bench.backends`: microseconds of the library's call / of ours, which takes and gives tensors;",
        f"one process, one thread, {ROUNDS} interleaved rounds. In bold the library's time by ours (above 1 ours is",
        "faster), with the spread over the rounds.\n",
        "| | " + " | ".join(f"{rows} row{'s' if rows > 1 else ''}" for rows in ROWS) + " |",
        "|---" * (len(ROWS) + 1) + "|",
    ]
    for name, by_rows in figures.items():
        cells = [
            f"{one['library_us']:,.0f} / {one['ours_us']:,.0f}: **{one['ratio']:.2f}**"
            f" ({one['low']:.2f}, {one['high']:.2f})"
            for one in by_rows.values()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    (RESULTS / "backends.md").write_text("\n".join(lines) + "\n")
    print((RESULTS / "backends.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
