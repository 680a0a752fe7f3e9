"""Checks on what scikit-learn indexes without checking: node arrays of fitted trees.

A file whose tree points outside its own arrays would read foreign memory or end the process at the first prediction.
Fitted trees are written depth first, so a child always has a higher number than its parent: that also rules out loops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check"]

_DEPTH = 64
_CALL_TREES_DIRECTLY = frozenset({"sklearn.ensemble._forest", "sklearn.ensemble._gb"})
"""Ensembles that check the input once and then hand it to the trees below unchecked."""


def check(estimator: object) -> None:
    """Walk the fitted object and check each tree in it.

    Raises:
        ModelLoadError: a tree is damaged.
    """
    for part in _parts(estimator, set(), _DEPTH):
        kind = type(part).__name__
        sound = True
        if kind == "Tree":
            sound = _tree_is_sound(part)
        elif kind == "TreePredictor":
            sound = _predictor_is_sound(part)
        elif kind in {"KDTree", "KDTree32", "BallTree", "BallTree32"}:
            sound = _ball_is_sound(part)
        else:
            sound = _owner_is_sound(part)
        if not sound:
            raise ModelLoadError(f"the model is damaged: a {kind} points outside its own nodes", "save it again")


def _parts(value: object, seen: set[int], depth: int) -> Iterator[Any]:
    """Every object reachable through attributes and containers, each once."""
    if id(value) in seen or isinstance(value, (str, bytes, int, float, bool, type(None), type)):
        return
    if depth == 0:
        raise ModelLoadError("the model is nested too deeply to be checked", "save it again")
    seen.add(id(value))
    yield value
    if isinstance(value, np.ndarray):
        children: list[object] = value.ravel().tolist() if value.dtype == object else []
    elif isinstance(value, dict):
        children = [*value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        children = [*value]
    else:
        children = [*getattr(value, "__dict__", {}).values()]
    for child in children:
        yield from _parts(child, seen, depth - 1)


def _tree_is_sound(tree: Any) -> bool:  # noqa: ANN401 - a Cython class without type information
    count = int(tree.node_count)
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    if count < 1 or len(left) < count or tree.value.shape[0] < count:
        return False
    inner = left != -1
    numbers = np.arange(len(left))
    children_sound = all(
        bool(np.all((child[inner] > numbers[inner]) & (child[inner] < count))) for child in (left, right)
    )
    return children_sound and bool(np.all((feature[inner] >= 0) & (feature[inner] < tree.n_features)))


def _predictor_is_sound(predictor: Any) -> bool:  # noqa: ANN401 - scikit-learn ships no type information
    nodes = predictor.nodes
    if not isinstance(nodes, np.ndarray) or nodes.dtype.names is None or len(nodes) == 0:
        return False
    inner = nodes["is_leaf"] == 0
    numbers = np.arange(len(nodes))
    children_sound = all(
        bool(np.all((nodes[side][inner] > numbers[inner]) & (nodes[side][inner] < len(nodes))))
        for side in ("left", "right")
    )
    categorical = inner & (nodes["is_categorical"] != 0)
    bitsets = min(len(predictor.raw_left_cat_bitsets), len(predictor.binned_left_cat_bitsets))
    return (
        children_sound
        and bool(np.all(nodes["feature_idx"][inner] >= 0))
        and bool(np.all(nodes["bitset_idx"][categorical] < bitsets))
    )


def _owner_is_sound(estimator: Any) -> bool:  # noqa: ANN401 - any estimator
    """Whether an estimator's trees use no more features than the estimator checks its input for."""
    width = getattr(estimator, "n_features_in_", None)
    if not isinstance(width, int):
        return True
    trees = [getattr(estimator, "tree_", None)]
    if type(estimator).__module__ in _CALL_TREES_DIRECTLY:
        trees += [getattr(tree, "tree_", None) for tree in np.ravel(getattr(estimator, "estimators_", []))]
    predictors = [predictor for stage in getattr(estimator, "_predictors", []) for predictor in stage]
    return all(tree is None or tree.n_features <= width for tree in trees) and all(
        bool(np.all(predictor.nodes["feature_idx"][predictor.nodes["is_leaf"] == 0] < width))
        for predictor in predictors
    )


def _ball_is_sound(tree: Any) -> bool:  # noqa: ANN401 - a Cython class without type information
    data, order, nodes, bounds = (np.asarray(part) for part in tree.get_arrays())
    points = len(data)
    starts, ends = nodes["idx_start"], nodes["idx_end"]
    return (
        len(order) == points
        and bounds.shape[1] == len(nodes)
        and bool(np.all((order >= 0) & (order < points)))
        and bool(np.all((starts >= 0) & (starts <= ends) & (ends <= points)))
    )
