"""The process that converts: ``python -P -m pillion.acceleration.worker SECONDS PRECISION FOLDER LIFELINE``.

A process of its own, because the converter is Python that runs for seconds: in the server it would hold the
interpreter's lock, could not be ended, and its memory would stay. The estimator comes pickled from the server, which
has loaded it by the rules for artifacts; it is not read from the artifact again.
"""

from __future__ import annotations

import pickle
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pillion.acceleration.job import Converted, Unconvertible
from pillion.execution.lifeline import hold

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ANSWER", "ESTIMATOR", "convert", "main"]

ESTIMATOR = "estimator.pickle"
ANSWER = "answer.msgpack"


def convert(estimator: Any, precision: str) -> Converted | Unconvertible:  # noqa: ANN401 - any estimator
    """The estimator as ONNX over a matrix of ``precision`` ("double" or "float"): of a classifier its probabilities,
    else its predictions, as the only output.
    """
    try:
        import onnx  # noqa: PLC0415 - to say what is missing
        import skl2onnx  # noqa: PLC0415 - as above
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        return Unconvertible(f"{error.name} is not installed (pip install 'pillion[accelerate]')")
    from pillion.acceleration import trees  # noqa: PLC0415 - as above

    trees.register()
    of = DoubleTensorType if precision == "double" else FloatTensorType
    classifies = callable(getattr(estimator, "predict_proba", None))
    options = {id(estimator): {"zipmap": False}} if classifies else None
    try:
        model = skl2onnx.convert_sklearn(
            estimator, initial_types=[("X", of([None, int(estimator.n_features_in_)]))], options=options
        )
    except Exception as error:  # noqa: BLE001 - the converter raises whatever its parts do
        return Unconvertible(f"skl2onnx cannot convert it: {type(error).__name__}: {_line(error)}")
    # The label is found from the probabilities, where near ties can be seen; what computes it here is not run.
    wanted = model.graph.output[1 if classifies else 0]
    for output in [output for output in model.graph.output if output.name != wanted.name]:
        model.graph.output.remove(output)
    return Converted(
        model.SerializeToString(),
        {"skl2onnx": str(skl2onnx.__version__), "onnx": str(onnx.__version__)},
        exact=precision == "double" and trees.exact(estimator),
    )


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."


def main(arguments: Sequence[str]) -> int:
    """Convert what is in the folder, and write the answer beside it."""
    seconds, precision, folder = int(arguments[0]), arguments[1], Path(arguments[2])
    signal.alarm(seconds)
    if sys.platform == "linux":  # ends with the server that waits for it, also where that is killed
        hold(int(arguments[3]))
    warnings.simplefilter("ignore")
    estimator = pickle.loads((folder / ESTIMATOR).read_bytes())  # noqa: S301 - written by our own server
    (folder / ANSWER).write_bytes(msgspec.msgpack.encode(convert(estimator, precision)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
