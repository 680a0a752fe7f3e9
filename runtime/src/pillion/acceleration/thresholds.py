"""Rows to compare a model and its conversion on: where the model has trees, around the numbers they split at.

Single precision and another order of comparison show only within a rounding of a threshold, which random rows never
hit. So half of the values are thresholds, exactly and one step of either precision to both sides. Nothing of what
clients send is looked at.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["rows_for", "thresholds_of"]

Array = np.ndarray[Any, np.dtype[Any]]

_ROWS: Final = 2000
_SPREADS: Final = (1.0, 10.0, 1000.0)
_MOST_THRESHOLDS: Final = 100_000


def thresholds_of(estimator: Any) -> tuple[Array, Array] | None:  # noqa: ANN401 - any estimator
    """Columns and the numbers they are split at; None where no trees are found.

    Of a pipeline those of its last step, in the units of that step.
    """
    steps = getattr(estimator, "steps", None)
    if steps:
        return thresholds_of(steps[-1][1])
    columns: list[Array] = []
    numbers: list[Array] = []
    for iteration in getattr(estimator, "_predictors", ()):
        for tree in iteration:
            inside = tree.nodes[tree.nodes["is_leaf"] == 0]
            columns.append(inside["feature_idx"].astype(np.int64))
            numbers.append(inside["num_threshold"].astype(np.float64))
    for tree in _trees(estimator):
        inside = tree.children_left != tree.children_right
        columns.append(tree.feature[inside].astype(np.int64))
        numbers.append(tree.threshold[inside].astype(np.float64))
    if not columns:
        return None
    return np.concatenate(columns), np.concatenate(numbers)


def _trees(estimator: Any) -> list[Any]:  # noqa: ANN401 - as above
    own = getattr(estimator, "tree_", None)
    if own is not None:
        return [own]
    members = getattr(estimator, "estimators_", None)
    if members is None:
        return []
    flat = members.ravel().tolist() if isinstance(members, np.ndarray) else members
    return [tree for member in flat for tree in _trees(member)]


def rows_for(estimator: Any, width: int) -> Array:  # noqa: ANN401 - as above
    """FP64 [rows, ``width``], the same each time. Finite; no value is missing."""
    random = np.random.default_rng(0)
    spread = np.concatenate([random.normal(0, scale, (_ROWS // 4 // len(_SPREADS), width)) for scale in _SPREADS])
    whole = random.integers(-3, 10, (_ROWS // 8, width)).astype(np.float64)
    found = thresholds_of(estimator)
    near = np.empty((0, width)) if found is None else _near(random, *found, estimator)
    return np.concatenate([np.zeros((1, width)), spread, whole, near])


def _near(random: np.random.Generator, columns: Array, numbers: Array, estimator: Any) -> Array:  # noqa: ANN401 - as above
    """Rows whose values are thresholds of their column and their neighbours, between values from the trees' range."""
    finite = np.isfinite(numbers)
    columns, numbers = columns[finite], numbers[finite]
    if len(numbers) > _MOST_THRESHOLDS:
        some = random.choice(len(numbers), _MOST_THRESHOLDS, replace=False)
        columns, numbers = columns[some], numbers[some]
    steps = getattr(estimator, "steps", None)
    width = int(getattr(steps[-1][1] if steps else estimator, "n_features_in_", 0))
    rows = np.zeros((_ROWS, width))
    for column in range(width):
        known = numbers[columns == column]
        if not len(known):
            rows[:, column] = random.normal(0, 1, _ROWS)
            continue
        low, high = known.min(), known.max()
        margin = (high - low) * 0.1 or 1.0
        anywhere = random.uniform(low - margin, high + margin, _ROWS)
        rows[:, column] = np.where(random.random(_ROWS) < 0.5, anywhere, _beside(random, known))
    if steps is None:
        return rows
    for _, step in reversed(steps[:-1]):
        if step is None or step == "passthrough":
            continue
        before = _before(step, rows)
        if before is None:
            return np.empty((0, int(estimator.n_features_in_)))
        rows = before
    return rows


def _before(step: Any, rows: Array) -> Array | None:  # noqa: ANN401 - as above
    """What a step of a pipeline makes ``rows`` of; None where that cannot be told."""
    try:
        if callable(getattr(step, "inverse_transform", None)):
            return np.asarray(step.inverse_transform(rows), np.float64)
    except Exception:  # noqa: BLE001, S110 - it has the method and may refuse all the same, as SimpleImputer does
        pass
    try:
        # Whoever fills in what is missing leaves whole rows as they are.
        return rows if np.array_equal(np.asarray(step.transform(rows), np.float64), rows) else None
    except Exception:  # noqa: BLE001 - as above
        return None


def _beside(random: np.random.Generator, known: Array) -> Array:
    """Thresholds, each as it is or one step away."""
    chosen = known[random.integers(0, len(known), _ROWS)]
    single = chosen.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    variants = [
        chosen,
        np.nextafter(chosen, np.inf),
        np.nextafter(chosen, -np.inf),
        single.astype(np.float64),
        np.nextafter(single, up).astype(np.float64),
        np.nextafter(single, down).astype(np.float64),
    ]
    return np.stack(variants)[random.integers(0, len(variants), _ROWS), np.arange(_ROWS)]
