"""How skl2onnx is to write scikit-learn's trees: with the comparisons that scikit-learn makes.

skl2onnx's own way rounds the thresholds of forests, fails on histogram gradient boosting with today's ONNX, and takes
minutes for millions of nodes. Here all numbers stay double; forests compare the features in single precision, as
scikit-learn does, and boosting as they are. Only the sum of the leaves comes out in single precision: the operator
gives no other (ONNX-ML 3, TreeEnsembleRegressor). Imported by the converting process alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import TensorProto, numpy_helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["register"]

Array = np.ndarray[Any, np.dtype[Any]]

_DOMAIN: Final = "ai.onnx.ml"
_VERSION: Final = 3
"""Of the operators for trees: the first with numbers in double precision."""
_INVERSE_LINKS: Final = {"IdentityLink": "Identity", "LogLink": "Exp"}
_VOTERS: Final = (
    RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier, ExtraTreeClassifier,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tree:
    """Arrays over the nodes of one tree."""

    leaf: Array
    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    value: Array
    """Of a leaf, [nodes, columns of the result]."""


def register() -> None:
    """Tell skl2onnx."""
    options = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
    for kind, write in (
        (HistGradientBoostingClassifier, _boosted_classifier),
        *((kind, _forest_classifier) for kind in _VOTERS),
    ):
        update_registered_converter(kind, f"Pillion{kind.__name__}", _declare_classifier, write, options=options)
    for kind, write in (
        (HistGradientBoostingRegressor, _boosted_regressor),
        (RandomForestRegressor, _forest_regressor),
        (ExtraTreesRegressor, _forest_regressor),
        (DecisionTreeRegressor, _forest_regressor),
        (ExtraTreeRegressor, _forest_regressor),
    ):
        update_registered_converter(kind, f"Pillion{kind.__name__}", calculate_linear_regressor_output_shapes, write)


def exact(estimator: Any) -> bool:  # noqa: ANN401 - any estimator
    """Whether single precision holds the sum of its leaves without rounding: forests whose leaves are of one class
    each, as they are where nothing bounds the trees' growth. Every tree then has one whole vote.
    """
    steps = getattr(estimator, "steps", None)
    if steps:
        return exact(steps[-1][1])
    if not isinstance(estimator, _VOTERS) or estimator.n_outputs_ != 1:
        return False
    return all(bool(np.isin(shares, (0.0, 1.0)).all()) for shares in _leaves(estimator))


def _leaves(forest: Any) -> Iterator[Array]:  # noqa: ANN401 - as above
    for tree in _members(forest):
        yield _shares(tree.tree_)[tree.tree_.children_left == tree.tree_.children_right]


def _declare_classifier(operator: Any) -> None:  # noqa: ANN401 - as above
    """As skl2onnx does, and with the probabilities in the precision of the input."""
    calculate_linear_classifier_output_shapes(operator)
    if isinstance(operator.inputs[0].type, DoubleTensorType):
        probabilities = operator.outputs[1]
        probabilities.type = DoubleTensorType(probabilities.type.shape)


class _Writer:
    """Adds nodes to the graph that skl2onnx is writing for one estimator."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401 - skl2onnx has no types
        self._scope = scope
        self._container = container
        self.model = operator.raw_operator
        self.input = str(operator.inputs[0].full_name)
        self.outputs = [str(output.full_name) for output in operator.outputs]
        double = isinstance(operator.inputs[0].type, DoubleTensorType)
        self.precision = TensorProto.DOUBLE if double else TensorProto.FLOAT
        """That of the input, which skl2onnx declares for the outputs, too."""

    def node(self, kind: str, inputs: str | Sequence[str], output: str = "", **attributes: Any) -> str:  # noqa: ANN401 - as ONNX has them
        """A node; the name of what it gives."""
        given = output or str(self._scope.get_unique_variable_name(kind.lower()))
        name = self._scope.get_unique_operator_name(f"pillion_{kind}")
        self._container.add_node(kind, inputs, given, name=name, **attributes)
        return given

    def constant(self, kind: int, shape: Sequence[int], values: Sequence[object]) -> str:
        """Values in the graph; their name."""
        name = str(self._scope.get_unique_variable_name("constant"))
        self._container.add_initializer(name, kind, list(shape), list(values))
        return name

    def trees(self, trees: Sequence[_Tree], columns: Sequence[int], base: Array, *, rounds: bool) -> str:
        """The sum of the leaves and ``base``, in the precision of the input; its name.

        Args:
            trees: of the ensemble.
            columns: for each tree the first column of the result that its leaves add to.
            base: of each column.
            rounds: whether the features are compared in single precision.
        """
        features = self.node("Cast", self.input, to=TensorProto.FLOAT) if rounds else self.input
        features = self.node("Cast", features, to=TensorProto.DOUBLE)
        sizes = [len(tree.leaf) for tree in trees]
        tree_ids = np.repeat(np.arange(len(trees)), sizes)
        node_ids = np.concatenate([np.arange(size) for size in sizes])
        leaf = np.concatenate([tree.leaf for tree in trees])
        width = trees[0].value.shape[1]
        first = np.repeat(np.asarray(columns), sizes)[leaf]

        def inside(name: str) -> Array:
            """That attribute of nodes which are no leaves; leaves have 0."""
            return np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in trees]))

        raw = self.node(
            "TreeEnsembleRegressor",
            features,
            op_domain=_DOMAIN,
            op_version=_VERSION,
            n_targets=len(base),
            post_transform="NONE",
            base_values_as_tensor=_doubles("base", base),
            nodes_treeids=tree_ids.tolist(),
            nodes_nodeids=node_ids.tolist(),
            nodes_featureids=inside("feature").astype(np.int64).tolist(),
            nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
            nodes_values_as_tensor=_doubles("thresholds", inside("threshold")),
            nodes_truenodeids=inside("left").astype(np.int64).tolist(),
            nodes_falsenodeids=inside("right").astype(np.int64).tolist(),
            nodes_missing_value_tracks_true=inside("missing_left").astype(np.int64).tolist(),
            target_treeids=np.repeat(tree_ids[leaf], width).tolist(),
            target_nodeids=np.repeat(node_ids[leaf], width).tolist(),
            target_ids=(first[:, None] + np.arange(width)).ravel().tolist(),
            target_weights_as_tensor=_doubles("leaves", np.concatenate([tree.value for tree in trees])[leaf].ravel()),
        )
        return self.node("Cast", raw, to=self.precision)

    def classifier(self, probabilities: str, classes: Array) -> None:
        """The outputs of a classifier: the label of the first of the likeliest classes, and the probabilities."""
        label, shown = self.outputs
        self.node("Identity", probabilities, shown)
        best = self.node("ArgMax", probabilities, axis=1, keepdims=0)
        if classes.dtype.kind in "OU":
            known = self.constant(TensorProto.STRING, classes.shape, [str(value).encode() for value in classes])
        else:
            known = self.constant(TensorProto.INT64, classes.shape, [int(value) for value in classes])
        self.node("Gather", [known, best], label, axis=0)

    def both(self, second: str, whole: int = 1) -> str:
        """Shares of two classes from that of the second and what they add up to."""
        total = self.constant(self.precision, [1], [float(whole)])
        return self.node("Concat", [self.node("Sub", [total, second]), second], axis=1)

    def divided(self, total: str, count: int) -> str:
        """The mean."""
        return self.node("Div", [total, self.constant(self.precision, [1], [float(count)])])


def _forest(scope: Any, operator: Any, container: Any, values: Callable[[Any], Array]) -> tuple[_Writer, str, int]:  # noqa: ANN401 - as above
    """The sum of the trees, which are one or many; also how many they are."""
    writer = _Writer(scope, operator, container)
    if writer.model.n_outputs_ != 1:
        raise NotImplementedError(f"{writer.model.n_outputs_} outputs")
    trees = [_tree(member.tree_, values(member.tree_)) for member in _members(writer.model)]
    base = np.zeros(trees[0].value.shape[1])
    return writer, writer.trees(trees, [0] * len(trees), base, rounds=True), len(trees)


def _members(forest: Any) -> list[Any]:  # noqa: ANN401 - as above
    return list(getattr(forest, "estimators_", None) or [forest])


def _shares(tree: Any) -> Array:  # noqa: ANN401 - as below
    """Of each node the share of each class."""
    counts: Array = tree.value[:, 0, :]
    shares: Array = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _tree(tree: Any, value: Array) -> _Tree:  # noqa: ANN401 - scikit-learn's compiled class
    leaf = tree.children_left == tree.children_right
    missing = getattr(tree, "missing_go_to_left", np.zeros(len(leaf), np.uint8))
    return _Tree(leaf, tree.feature, tree.threshold, tree.children_left, tree.children_right, missing, value)


def _forest_classifier(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401 - as above
    def votes(tree: Any) -> Array:  # noqa: ANN401 - as above
        shares = _shares(tree)
        return shares[:, 1:] if shares.shape[1] == 2 else shares

    writer, total, count = _forest(scope, operator, container, votes)
    classes = writer.model.classes_
    # Divided at the end, as in scikit-learn: whole votes stay whole.
    all_votes = writer.both(total, count) if len(classes) == 2 else total
    writer.classifier(writer.divided(all_votes, count), classes)


def _forest_regressor(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401 - as above
    writer, total, count = _forest(scope, operator, container, lambda tree: tree.value[:, 0, :])
    writer.node("Identity", writer.divided(total, count), writer.outputs[0])


def _boosted(scope: Any, operator: Any, container: Any) -> tuple[_Writer, str]:  # noqa: ANN401 - as above
    """The sum of the trees of every iteration, one column for each tree of an iteration."""
    writer = _Writer(scope, operator, container)
    model = writer.model
    if getattr(model, "is_categorical_", None) is not None and np.any(model.is_categorical_):
        raise NotImplementedError("columns of categories, whose splits are sets")
    trees: list[_Tree] = []
    columns: list[int] = []
    for iteration in model._predictors:
        for column, predictor in enumerate(iteration):
            nodes = predictor.nodes
            trees.append(
                _Tree(
                    leaf=nodes["is_leaf"].astype(bool),
                    feature=nodes["feature_idx"],
                    threshold=nodes["num_threshold"],
                    left=nodes["left"],
                    right=nodes["right"],
                    missing_left=nodes["missing_go_to_left"],
                    value=nodes["value"][:, None],
                )
            )
            columns.append(column)
    base = np.ravel(model._baseline_prediction)
    return writer, writer.trees(trees, columns, base, rounds=False)


def _boosted_classifier(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401 - as above
    writer, raw = _boosted(scope, operator, container)
    if writer.model.n_trees_per_iteration_ == 1:
        writer.classifier(writer.both(writer.node("Sigmoid", raw)), writer.model.classes_)
    else:
        writer.classifier(writer.node("Softmax", raw, axis=1), writer.model.classes_)


def _boosted_regressor(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401 - as above
    writer, raw = _boosted(scope, operator, container)
    link = type(writer.model._loss.link).__name__
    if link not in _INVERSE_LINKS:
        raise NotImplementedError(f"the link {link} of its loss")
    writer.node(_INVERSE_LINKS[link], raw, writer.outputs[0])


def _doubles(name: str, values: Array) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values, np.float64), name)
