"""What stands in a model file of LightGBM, checked before LightGBM reads it.

LightGBM parses trees in several threads and ends the process at the first that is damaged or cut short; a tree that
points outside itself it reads without a word. Source: ``src/io/tree.cpp`` and ``gbdt_model_text.cpp`` of LightGBM 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from pillion.backends.api import ModelLoadError

__all__ = ["Header", "check", "damaged"]

_INNER: Final = ("split_feature", "threshold", "left_child", "right_child")
_INNER_OPTIONAL: Final = ("split_gain", "decision_type", "internal_value", "internal_weight", "internal_count")
_LEAF_OPTIONAL: Final = ("leaf_weight", "leaf_count", "leaf_const")
_COUNTED_NAME: Final = re.compile(r"Column_\d+")
_CATEGORICAL: Final = re.compile(r"-?\d+(?::-?\d+)*")
_PARAMETER: Final = re.compile(r"^\[categorical_feature: ([\d,]*)\]$", re.MULTILINE)

Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class Header:
    """What the beginning of the file says."""

    names: tuple[str, ...]
    objective: str
    """Its name, without parameters; empty for one of the user's own."""
    categorical: tuple[int, ...]
    """Positions of the columns that are categories."""

    @property
    def counted(self) -> bool:
        """Whether the columns had no names in training."""
        return all(_COUNTED_NAME.fullmatch(name) for name in self.names)


def check(text: str, name: str) -> Header:
    """Read the header and look at every tree.

    Raises:
        ModelLoadError: it is no such file, or a part is missing or damaged.
    """
    head, found, rest = text.partition("\nTree=0\n")
    fields = _fields(head)
    if not head.startswith("tree\n") or not {"num_class", "feature_names", "max_feature_idx"} <= fields.keys():
        raise damaged(name, "its header is not whole")
    if not found:
        raise damaged(name, "it has no trees")
    body, found, tail = rest.partition("\nend of trees\n")
    if not found:
        raise damaged(name, "it ends before its trees do")
    names = tuple(fields["feature_names"].split())
    trees = re.split(r"^Tree=\d+$", f"\n{body}", flags=re.MULTILINE)
    sizes = fields.get("tree_sizes", "").split()
    if sizes and not _sizes_fit(text, sizes, len(trees)):
        raise damaged(name, "its trees are not where the header says")
    if len(names) != _number(fields["max_feature_idx"]) + 1:
        raise damaged(name, "its names are not as many as its columns")
    groups = _number(fields.get("num_tree_per_iteration", "1"))
    if groups < 1 or len(trees) % groups:
        raise damaged(name, "its trees are not as many for each class")
    for number, tree in enumerate(trees):
        if not _tree_is_sound(_fields(tree), len(names)):
            raise damaged(name, f"tree {number} is not whole or points outside itself")
    return Header(names, fields.get("objective", "").partition(" ")[0], _categorical(fields, tail))


def damaged(name: str, problem: str) -> ModelLoadError:
    """The answer to a file that cannot be read."""
    return ModelLoadError(
        f"{name} is not a whole LightGBM model: {problem}",
        "write it with booster.save_model('model.txt'), or upload it again",
    )


def _fields(block: str) -> Fields:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else -1


def _sizes_fit(text: str, sizes: list[str], trees: int) -> bool:
    """LightGBM finds the trees by their sizes in bytes, the first one at the beginning of its line."""
    content = text.encode()
    place = content.index(b"\nTree=0\n") + 1
    if len(sizes) != trees:
        return False
    for number, size in enumerate(sizes):
        if _number(size) < 0 or not content.startswith(b"Tree=%d\n" % number, place):
            return False
        place += int(size)
    return content.startswith(b"end of trees", place)


def _categorical(fields: Fields, tail: str) -> tuple[int, ...]:
    said = _PARAMETER.search(tail)
    if said is not None and said[1]:
        return tuple(int(position) for position in said[1].split(","))
    infos = fields.get("feature_infos", "").split()
    return tuple(position for position, info in enumerate(infos) if _CATEGORICAL.fullmatch(info))


def _tree_is_sound(fields: Fields, width: int) -> bool:
    leaves, categories = _number(fields.get("num_leaves", "")), _number(fields.get("num_cat", ""))
    if leaves < 1 or categories < 0:
        return False
    optional = dict.fromkeys(_INNER_OPTIONAL, leaves - 1) | dict.fromkeys(_LEAF_OPTIONAL, leaves)
    try:
        if len(_floats(fields["leaf_value"])) != leaves:
            return False
        if leaves == 1:
            return True
        if any(key in fields and fields[key] and len(_floats(fields[key])) != size for key, size in optional.items()):
            return False
        splits, _, left, right = (_floats(fields[key]) for key in _INNER)
        if not all(len(_floats(fields[key])) == leaves - 1 for key in _INNER):
            return False
        inside = _children_are_sound(left, right, leaves) and bool(((splits >= 0) & (splits < width)).all())
        return inside and _categories_are_sound(fields, categories) and _linear_is_sound(fields, leaves, width)
    except (KeyError, ValueError):
        return False


def _floats(text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(text.split(), np.float64)


def _children_are_sound(
    left: np.ndarray[tuple[int], np.dtype[np.float64]], right: np.ndarray[tuple[int], np.dtype[np.float64]], leaves: int
) -> bool:
    """Children are inner nodes with a higher number, or leaves: -1 is the first one. Each is somebody's child once."""
    children = np.concatenate([left, right])
    numbers = np.tile(np.arange(leaves - 1), 2)
    within = (children >= -leaves) & (children < leaves - 1) & (children == np.trunc(children))
    forward = (children < 0) | (children > numbers)
    return bool((within & forward).all()) and len(np.unique(children)) == len(children)


def _categories_are_sound(fields: Fields, categories: int) -> bool:
    if categories == 0:
        return True
    bounds, words = _floats(fields["cat_boundaries"]), _floats(fields["cat_threshold"])
    thresholds, kinds = _floats(fields["threshold"]), _floats(fields["decision_type"]).astype(np.int64)
    chosen = thresholds[(kinds & 1) == 1]  # of a split by category the threshold is the number of its set
    return (
        len(bounds) == categories + 1
        and bounds[0] == 0
        and bool((np.diff(bounds) >= 0).all())
        and bounds[-1] == len(words)
        and bool(((chosen >= 0) & (chosen < categories)).all())
    )


def _linear_is_sound(fields: Fields, leaves: int, width: int) -> bool:
    if fields.get("is_linear", "0") == "0":
        return True
    counts, used = _floats(fields["num_features"]), _floats(fields["leaf_features"])
    coefficients = _floats(fields["leaf_coeff"])
    return (
        len(counts) == leaves
        and len(_floats(fields["leaf_const"])) == leaves
        and int(counts.sum()) == len(used) == len(coefficients)
        and bool(((used >= 0) & (used < width)).all())
    )
