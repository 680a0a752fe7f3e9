"""A scikit-learn model whose usual calls are computed by ONNX Runtime, and the others by the estimator as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import onnxruntime as ort

from pillion.acceleration.comparison import TOLERANCE
from pillion.backends.sklearn_model import tensor_of
from pillion.model import Libraries
from pillion.tensors import dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.backends.sklearn_model import SklearnModel
    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["NEAR_TIE", "AcceleratedModel", "session_of"]

Array = np.ndarray[Any, np.dtype[Any]]

NEAR_TIE: Final = 2 * TOLERANCE
"""Where the likeliest class leads by less, two probabilities that are off by as much as is allowed could change places:
the estimator decides there."""
_LARGEST_SQUARES: Final = 1e70
"""Above it, or where it is no number, a value of the rows may be missing, infinite or too large for the estimator."""
_FATAL_ONLY: Final = 4


def session_of(model: bytes, threads: int) -> ort.InferenceSession:
    """A session on the CPU with ``threads`` threads inside an operator."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads must not burn quota
    return ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


class AcceleratedModel:
    """What it declares is what the estimator declares. Threads may share it.

    The estimator stays in memory and computes what the conversion cannot be trusted with: other outputs, rows without
    a value or beyond single precision (so that it says itself what is wrong with them), and labels of near ties.
    """

    def __init__(
        self, original: SklearnModel, session: ort.InferenceSession, versions: Mapping[str, str], *, exact: bool
    ) -> None:
        """Args:
        original: with an input that is one matrix of numbers.
        session: of the probabilities of a classifier, else of its predictions.
        versions: of the libraries that converted it.
        exact: whether the probabilities are the estimator's to the last bit.
        """
        self.original = original
        self.metadata = original.metadata
        self.rules = original.rules
        self.default_outputs = original.default_outputs
        self.any_input_name = original.any_input_name
        known = original.libraries or Libraries({}, {})
        loading = {**known.loading, **versions, "onnxruntime": ort.__version__}
        self.libraries: Libraries | None = msgspec.structs.replace(known, loading=loading)
        # As in the backend of ONNX: what the session's Python class checks again costs a third of a small call.
        self._run = getattr(session, "_sess", session).run
        node = session.get_inputs()[0]
        self._input = node.name
        self._dtype = np.dtype(np.float64 if node.type == "tensor(double)" else np.float32)
        self._result = [session.get_outputs()[0].name]
        declared = {spec.name: dtype_of(spec.datatype) for spec in original.metadata.outputs}
        self._classes: Array = np.asarray(getattr(original.estimator, "classes_", ()))
        if "predict_proba" in declared:
            self.outputs = frozenset({"predict", "predict_proba"}) & declared.keys()
        else:
            self.outputs = frozenset({"predict"}) & declared.keys()
        self._declared = declared
        self._exact = exact
        self._flat = {spec.name: len(spec.shape) == 1 for spec in original.metadata.outputs}

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        if not self.outputs.issuperset(outputs):
            return self.original.predict(inputs, outputs, interrupt)
        rows: Array = self.original.read(inputs)
        if not len(rows) or not np.vdot(rows, rows) < _LARGEST_SQUARES:
            return self.original.predict(inputs, outputs, interrupt)
        result: Array = self._run(self._result, {self._input: rows.astype(self._dtype, copy=False)}, None)[0]
        return [self._output(name, rows, result) for name in outputs]

    def _output(self, name: str, rows: Array, result: Array) -> Tensor:
        if name == "predict" and "predict_proba" in self.outputs:
            return tensor_of(name, self._labels(rows, result))
        data = result.astype(self._declared[name], copy=False)
        return tensor_of(name, data.ravel() if self._flat[name] else data)

    def _labels(self, rows: Array, probabilities: Array) -> Array:
        labels = self._classes.take(probabilities.argmax(axis=1))
        if self._exact:
            return np.asarray(labels)
        if probabilities.shape[1] == 2:
            near = np.abs(probabilities[:, 1] - 0.5) < NEAR_TIE / 2
        else:
            leading = np.partition(probabilities, -2, axis=1)
            near = leading[:, -1] - leading[:, -2] < NEAR_TIE
        if near.any():
            labels[near] = self.original.estimator.predict(rows[near])
        return np.asarray(labels)

    def close(self) -> None:
        """The session's memory goes with the last reference to it."""
        self.original.close()
