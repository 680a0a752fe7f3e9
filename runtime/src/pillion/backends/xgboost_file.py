"""What stands in a file of XGBoost, and whether its trees stay inside their own arrays.

XGBoost checks the lengths of the arrays and not what they hold: a file whose tree points outside itself ends the
process at the first prediction, and one that points back never returns.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np

from pillion.backends.api import ModelLoadError

__all__ = ["Document", "categories", "check", "is_classifier", "read"]

_NO_PARENT: Final = frozenset({2**31 - 1, -1})
"""Of the first node; trees with several outputs say -1."""
_REMEDY: Final = "save it again with model.save_model('model.json')"


class _Tree(msgspec.Struct):
    left_children: list[int]
    right_children: list[int]
    parents: list[int]
    split_indices: list[int]
    split_type: list[int] = []
    categories: list[int] = []
    categories_nodes: list[int] = []
    categories_segments: list[int] = []
    categories_sizes: list[int] = []


class _Categories(msgspec.Struct):
    enc: list[dict[str, Any]] = []


class _Trees(msgspec.Struct):
    trees: list[_Tree] = []
    tree_info: list[int] = []
    cats: _Categories = msgspec.field(default_factory=_Categories)
    weights: list[float] = []


class _Booster(msgspec.Struct):
    name: str
    model: _Trees = msgspec.field(default_factory=_Trees)
    gbtree: _Booster | None = None
    """Of a booster that drops trees (dart)."""
    weight_drop: list[float] = []


class _Named(msgspec.Struct):
    name: str


class _Shape(msgspec.Struct):
    num_class: str
    num_feature: str
    num_target: str = "1"


class _Learner(msgspec.Struct):
    gradient_booster: _Booster
    learner_model_param: _Shape
    objective: _Named
    attributes: dict[str, str] = {}
    feature_types: list[str] = []


class Document(msgspec.Struct):
    """The parts of the model's document that are looked at."""

    learner: _Learner
    version: list[int]

    @property
    def trees(self) -> _Trees:
        """Those of the booster, also where it is inside of another."""
        booster = self.learner.gradient_booster
        return booster.gbtree.model if booster.gbtree is not None else booster.model


_DECODER: Final = msgspec.json.Decoder(Document)


def read(text: bytes | bytearray) -> Document:
    """The document that XGBoost writes of a model it has read.

    Raises:
        ModelLoadError: it is of a form that this version does not know.
    """
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError as error:
        raise ModelLoadError(f"the model's document has another form than known: {error}", _REMEDY) from error


def is_classifier(document: Document) -> bool:
    """Whether a classifier of the scikit-learn interface was saved."""
    try:
        return bool(
            json.loads(document.learner.attributes.get("scikit_learn", "{}")).get("_estimator_type") == "classifier"
        )
    except (ValueError, AttributeError):
        return False


def categories(document: Document, count: int) -> list[tuple[str | int | float | bool, ...] | None]:
    """The categories of each column; None for numbers, and for categories that the file only has the numbers of.

    XGBoost before 3.1 wrote no categories: then requests send their numbers, as in training.

    Raises:
        ModelLoadError: the categories cannot be read.
    """
    encoded = document.trees.cats.enc
    if len(encoded) != count:
        return [None] * count
    return [_values(entry) for entry in encoded]


def _values(entry: dict[str, Any]) -> tuple[str | int | float | bool, ...] | None:
    values, offsets = entry.get("values", []), entry.get("offsets")
    if not values:
        return None
    if offsets is None:
        return tuple(values)
    content = bytes(value % 256 for value in values)
    if not content.isascii():
        # XGBoost 3 counts characters where it cuts bytes: the categories behind such a text are shifted, the last one
        # is cut short. What was meant cannot be told from the file.
        raise ModelLoadError(
            "XGBoost writes categories that are not plain ASCII wrongly into its files",
            "train with other names of categories, or with their numbers",
        )
    return tuple(content[start:end].decode() for start, end in pairwise(offsets))


def check(document: Document, name: str) -> None:
    """Look at every tree.

    Raises:
        ModelLoadError: a part is damaged.
    """
    shape = document.learner.learner_model_param
    width = int(shape.num_feature)
    groups = max(1, int(shape.num_class)) * max(1, int(shape.num_target))
    model = document.trees
    if document.learner.gradient_booster.name == "gblinear":
        if len(model.weights) != (width + 1) * groups:
            raise _damaged(name, "its weights are not as many as its columns")
        return
    if len(model.tree_info) != len(model.trees) or not all(0 <= group < groups for group in model.tree_info):
        raise _damaged(name, "a tree belongs to no class")
    drops = document.learner.gradient_booster.weight_drop
    if document.learner.gradient_booster.name == "dart" and len(drops) != len(model.trees):
        raise _damaged(name, "its weights are not as many as its trees")
    for number, tree in enumerate(model.trees):
        if not _is_sound(tree, width):
            raise _damaged(name, f"tree {number} points outside its own nodes")


def _is_sound(tree: _Tree, width: int) -> bool:
    left, right, parents = (
        np.array(part, np.int64) for part in (tree.left_children, tree.right_children, tree.parents)
    )
    count = len(left)
    if count == 0 or not len(right) == len(parents) == len(tree.split_indices) == count:
        return False
    inner = left != -1
    numbers = np.arange(count)
    for child in (left[inner], right[inner]):
        # Each inner node is the parent of its children: with one parent for each node and none for the first, there
        # is no way round.
        if not ((child > 0) & (child < count)).all() or not (parents[child] == numbers[inner]).all():
            return False
    splits = np.array(tree.split_indices, np.int64)[inner]
    bounded = bool(((splits >= 0) & (splits < width)).all())
    return bounded and int(parents[0]) in _NO_PARENT and _categories_are_sound(tree, count)


def _categories_are_sound(tree: _Tree, count: int) -> bool:
    nodes, starts, sizes = (
        np.array(part, np.int64) for part in (tree.categories_nodes, tree.categories_segments, tree.categories_sizes)
    )
    if not len(nodes) == len(starts) == len(sizes):
        return False
    ends = starts + sizes
    listed = len(tree.categories)
    return bool(((nodes >= 0) & (nodes < count) & (starts >= 0) & (sizes >= 0) & (ends <= listed)).all()) and all(
        value >= 0 for value in tree.categories
    )


def _damaged(name: str, problem: str) -> ModelLoadError:
    return ModelLoadError(f"{name} is damaged: {problem}", _REMEDY)
