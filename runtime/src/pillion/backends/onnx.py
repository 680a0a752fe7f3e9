"""ONNX models, run by ONNX Runtime: on the CPU, or by CUDA where its build and a device are there."""

from __future__ import annotations

import ast
import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import onnxruntime as ort

from pillion.backends import text
from pillion.backends.api import InputRule, LoadOptions, ModelLoadError
from pillion.backends.devices import CUDA_PROVIDER, nvidia_devices, onnx_providers, refused
from pillion.backends.labels import fitting
from pillion.model import Libraries, ModelMetadata
from pillion.tensors import Datatype, Tensor, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pillion.execution.api import Interrupt

__all__ = ["BACKEND", "OnnxModel"]

_log = logging.getLogger(__name__)

_TENSORS: Final[Mapping[str, Datatype]] = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}
_MAPS: Final[Mapping[str, Datatype]] = {
    f"seq(map({key},tensor({value})))": datatype
    for key in ("int64", "string")
    for value, datatype in (("float", Datatype.FP32), ("double", Datatype.FP64))
}
"""What the ZipMap operator of converted classifiers puts out: one dictionary per row, class label to probability."""

_LABELS: Final = msgspec.json.Decoder(list[str])
_FATAL_ONLY: Final = 4


class OnnxModel:
    """A session and its declarations. Sessions may be run by several threads at once (ONNX Runtime's guarantee)."""

    any_input_name = False

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.rules = _with_batch(tuple(_rule(node) for node in session.get_inputs()))
        outputs = [spec for spec in map(_output, session.get_outputs()) if spec is not None]
        if not outputs:
            kinds = ", ".join(f"{node.name}: {node.type}" for node in session.get_outputs())
            raise ModelLoadError(
                f"no output of the model is a tensor ({kinds})", "convert the model again with tensor outputs"
            )
        self.default_outputs = tuple(spec.name for spec in outputs)
        meta = session.get_modelmeta()
        self.metadata = ModelMetadata(
            "onnx_onnxruntime",
            tuple(rule.spec for rule in self.rules),
            tuple(outputs),
            labels=fitting(outputs, _class_names(meta.custom_metadata_map)),
        )
        producer = meta.producer_name
        # ONNX Runtime tells the producer's name and not its version.
        self.libraries: Libraries | None = Libraries(
            saved={producer: ""} if producer else {}, loading={"onnxruntime": ort.__version__}
        )
        self._encoders: dict[str, Callable[[str, Any], Tensor]] = {
            node.name: _encoder(node.type) for node in session.get_outputs()
        }
        # The method of the session's Python class checks again what the data plane has checked, in a third of the time
        # that a small model takes; what it calls then raises the same errors.
        self._run: Callable[..., list[Any]] = getattr(session, "_sess", session).run
        self._names = tuple(rule.spec.name for rule in self.rules)
        self._text = frozenset(rule.spec.name for rule in self.rules if rule.spec.datatype is Datatype.BYTES)

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        feed = {name: tensor.data for name, tensor in zip(self._names, inputs, strict=True) if tensor is not None}
        if self._text:
            for name in self._text:
                feed[name] = text.decode(feed[name], name)
        options = None
        if interrupt is not None:
            options = ort.RunOptions()
            interrupt.action = _terminator(options)
            if interrupt.fired:
                interrupt.action()
        try:
            results = self._run(outputs, feed, options)
        except ort.capi.onnxruntime_pybind11_state.InvalidArgument as error:
            # ONNX Runtime's own check of rank, size and type before anything is computed: the input is at fault.
            raise ValueError(_sentence(error)) from error
        encoders = self._encoders
        return [encoders[name](name, result) for name, result in zip(outputs, results, strict=True)]

    def close(self) -> None:
        """The session's memory goes with the last reference to it."""


class OnnxBackend:
    """Loads ``.onnx`` files."""

    def load(self, path: Path, options: LoadOptions) -> OnnxModel:
        """Make a session on the device that was asked for, with that many threads inside an operator."""
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.intra_op_threads()
        settings.inter_op_num_threads = 1
        settings.log_severity_level = _FATAL_ONLY  # failures come back as exceptions and are logged once, by us
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads must not burn quota
        asked = options.asked_device()
        providers = onnx_providers(asked, ort.get_available_providers(), nvidia_devices())
        try:
            session = ort.InferenceSession(str(path), settings, providers=providers)
        except ort.capi.onnxruntime_pybind11_state.InvalidProtobuf as error:
            raise ModelLoadError(
                f"{path.name} is not a valid ONNX model", "it may be cut short or another format: upload it again"
            ) from error
        if len(providers) > 1 and CUDA_PROVIDER not in session.get_providers():
            # ONNX Runtime says nothing and computes on the CPU.
            reason = "ONNX Runtime could not start CUDA: are the driver and the libraries of CUDA and cuDNN there?"
            if asked not in {None, "auto"}:
                raise refused(str(asked), reason)
            _log.warning("%s is computed on the CPU: %s", path.name, reason)
        return OnnxModel(session)


def _class_names(properties: Mapping[str, str]) -> tuple[str, ...]:
    """What the file says of its classes: ``labels``, a JSON list, or ``names`` as Ultralytics writes them.

    Anything else under these names means something else to its author, and is left alone.
    """
    try:
        if "labels" in properties:
            listed = _LABELS.decode(properties["labels"])
        else:
            numbered = ast.literal_eval(properties.get("names", "{}"))  # a dictionary of Python by the classes' numbers
            listed = [numbered[number] for number in range(len(numbered))]
    except (msgspec.DecodeError, ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return ()
    return tuple(map(str, listed))


def _rule(node: ort.NodeArg) -> InputRule:
    datatype = _TENSORS.get(node.type)
    if datatype is None:
        raise ModelLoadError(
            f"input {node.name!r} is of type {node.type}, which the protocol cannot carry",
            "convert the model again with tensor inputs",
        )
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    symbols = tuple(size if isinstance(size, str) else "" for size in node.shape)
    spec = TensorSpec(node.name, datatype, shape)
    # ONNX Runtime reports no dimensions for scalars and for inputs of unknown rank alike: leave both to its own check.
    return InputRule(spec, frozenset({datatype}), symbols, free_rank=not shape)


def _with_batch(rules: tuple[InputRule, ...]) -> tuple[InputRule, ...]:
    """Where the first dimension of every input varies and none of them has a name, it is the batch: one size for all.

    Converters that give no names (skl2onnx) mean it so; without this, inputs that disagree would fail inside the graph.
    """
    unnamed = all(rule.spec.shape[:1] == (-1,) and rule.symbols[0] == "" for rule in rules)
    if len(rules) < 2 or not unnamed:
        return rules
    return tuple(msgspec.structs.replace(rule, symbols=("batch", *rule.symbols[1:])) for rule in rules)


def _output(node: ort.NodeArg) -> TensorSpec | None:
    if node.type in _TENSORS:
        return TensorSpec(
            node.name, _TENSORS[node.type], tuple(size if isinstance(size, int) else -1 for size in node.shape)
        )
    if node.type in _MAPS:
        return TensorSpec(node.name, _MAPS[node.type], (-1, -1))
    _log.warning("output %s is of type %s and cannot be asked for", node.name, node.type)
    return None


def _encoder(kind: str) -> Callable[[str, Any], Tensor]:
    """How a result of that ONNX type becomes a tensor."""
    if kind in _MAPS:
        dtype = np.dtype(np.float32 if _MAPS[kind] is Datatype.FP32 else np.float64)
        return lambda name, rows: Tensor(name, _MAPS[kind], _matrix(rows, dtype))
    datatype = _TENSORS.get(kind, Datatype.BYTES)
    if datatype is Datatype.BYTES:
        return lambda name, data: Tensor(name, Datatype.BYTES, text.encode(np.asarray(data, dtype=np.object_)))
    return lambda name, data: Tensor(name, datatype, data)


def _matrix(rows: list[dict[Any, float]], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Dictionaries of one row each as rows of a matrix; columns in the order of the sorted labels."""
    labels = sorted(rows[0]) if rows else []
    return np.array([[row[label] for label in labels] for row in rows], dtype=dtype).reshape(len(rows), len(labels))


def _terminator(options: ort.RunOptions) -> Callable[[], None]:
    def terminate() -> None:
        options.terminate = True

    return terminate


def _sentence(error: Exception) -> str:
    """ONNX Runtime's message without its prefix and advice, on one line."""
    message = str(error).rsplit("INVALID_ARGUMENT : ", 1)[-1]
    return " ".join(message.replace("Please fix either the inputs/outputs or the model.", "").split())


BACKEND: Final = OnnxBackend()
