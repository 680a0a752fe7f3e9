"""Models written in Python: a class of the user's as a model that takes tensors, and answers its tasks."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.authoring.errors import AuthoringError, ResultError
from pillion.authoring.field_numbers import LOCK_NAME, lock_folder, read_lock
from pillion.authoring.predict import Form
from pillion.authoring.results import maker
from pillion.authoring.signature import define
from pillion.backends import text
from pillion.backends.api import InputRule, ModelLoadError
from pillion.backends.python_batch import PythonBatchRun, alone
from pillion.backends.python_explain import PythonExplainRun
from pillion.backends.python_results import undeclared
from pillion.backends.python_source import failure_in_code, import_class
from pillion.backends.python_stream import PythonStream
from pillion.backends.python_upkeep import PythonHealth, PythonReconfigure
from pillion.errors import ErrorCode, PillionError
from pillion.model import ModelMetadata
from pillion.runtimefile import PYTHON
from pillion.tensors import Datatype, Tensor, datatype_of, dtype_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from pillion.authoring.field_numbers import FieldLock
    from pillion.authoring.model import Model
    from pillion.authoring.predict import PredictInput
    from pillion.authoring.signature import ModelDefinition, TaskSignature
    from pillion.authoring.text import TextMethods
    from pillion.execution.api import Interrupt
    from pillion.model import Libraries
    from pillion.runtimefile import DesiredModel

    Tell = Callable[[Mapping[str, TaskSignature]], None]

__all__ = ["Found", "PythonModel", "PythonTaskRun", "find", "load"]

_log: Final = logging.getLogger(__name__)
_NUMERIC: Final = frozenset(Datatype) - {Datatype.BYTES}


class PythonModel:
    """An instance of a class of the user's (see :class:`~pillion.backends.api.LoadedModel`)."""

    any_input_name = True

    def __init__(
        self, definition: ModelDefinition, instance: Model, files: tuple[str, ...], lock: FieldLock | None = None
    ) -> None:
        self.definition = definition
        self.lock = lock
        """Of the numbers of its protobuf fields."""
        self.files = files
        """What the class was made of, to be watched."""
        self.instance = instance
        self.libraries: Libraries | None = None
        predict = definition.predict
        self._inputs: tuple[PredictInput, ...] = () if predict is None else predict.inputs
        self._predict = None if predict is None else getattr(instance, "predict")  # noqa: B009 - not part of Model
        self._named = predict is not None and predict.named
        self.asynchronous = predict is not None and predict.asynchronous
        specs = () if predict is None else predict.outputs
        self.default_outputs = tuple(spec.name for spec in specs)
        self.rules = tuple(_rule(one) for one in self._inputs)
        explain = definition.explain
        self.metadata = ModelMetadata(
            "pillion_python", tuple(rule.spec for rule in self.rules), specs, explains=explain is not None
        )
        self._tasks = {signature.name: signature for signature in definition.tasks}
        self._makers = {signature: maker(signature.returns) for signature in definition.tasks}
        self.text: TextMethods = definition.text
        """Its ``generate`` and ``embed``."""
        named = [one.task for one in (self.text.generate, self.text.embed) if one is not None]
        kinds = [task.asynchronous for task in (*definition.tasks, *named)]
        if explain is not None:
            kinds.append(explain.asynchronous)
        self.streams = self.text.generate is not None or any(task.streams for task in definition.tasks)
        """Whether results of one of its methods come one by one."""
        self.runs_on_loop = all((*kinds, predict.asynchronous) if predict is not None else kinds)
        """Whether all of its methods are ``async``."""
        self.has_coroutines = any(kinds) or (predict is not None and predict.asynchronous)
        """Whether one of them is."""

    @property
    def tasks(self) -> Mapping[str, TaskSignature]:
        """By name, in the order of their declaration."""
        return self._tasks

    def begin(self, task: TaskSignature, arguments: Mapping[str, Any]) -> PythonTaskRun:
        """See :class:`~pillion.backends.api.TaskModel`."""
        make = self._makers.get(task) or maker(task.returns)  # `embed` need not be a task
        method = getattr(self.instance, task.method)
        return PythonTaskRun(method if task.batch is None else alone(method, task), task, arguments, make)

    def begin_batch(self, task: TaskSignature, calls: Sequence[Mapping[str, Any]]) -> PythonBatchRun:
        """See :class:`~pillion.backends.api.BatchModel`."""
        return PythonBatchRun(getattr(self.instance, task.method), task, calls, self._makers[task])

    def begin_explanation(self) -> PythonExplainRun:
        """See :class:`~pillion.backends.api.ExplainedModel`."""
        explain = self.definition.explain
        if explain is None:  # the data plane asks only models that explain
            raise TypeError(f"{self.definition.name} has no explain")
        return PythonExplainRun(self, explain)

    @property
    def checks(self) -> bool:
        """Whether its author says how it is, by a method ``check_health``."""
        return callable(getattr(self.instance, "check_health", None))

    def check_health(self) -> PythonHealth:
        """See :class:`~pillion.backends.api.CheckedModel`."""
        return PythonHealth(getattr(self.instance, "check_health"))  # noqa: B009 - not part of Model

    def reconfigure(self, config: Mapping[str, Any]) -> PythonReconfigure:
        """See :class:`~pillion.backends.api.ConfiguredModel`."""
        method = getattr(self.instance, "reconfigure", None)
        if not callable(method):
            raise ModelLoadError(
                f"{self.definition.name} has a config and no method reconfigure(config) that takes it",
                "write one, or take the config out",
            )
        return PythonReconfigure(method, config)

    def stream(self, task: TaskSignature, arguments: Mapping[str, Any]) -> PythonStream:
        """See :class:`~pillion.backends.api.StreamModel`."""
        generate = self.text.generate
        generates = generate is not None and task is generate.task
        return PythonStream(getattr(self.instance, task.method), task, arguments, generates=generates)

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        del interrupt
        return self._tensors(self._call(inputs), outputs)

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """The same for a ``predict`` that is ``async``."""
        answer: Awaitable[Any] = self._call(inputs)
        return self._tensors(await answer, outputs)

    def _call(self, inputs: Sequence[Tensor | None]) -> Any:  # noqa: ANN401 - what the user's method gives
        if self._predict is None:  # the data plane refuses tensors for a model without inputs
            raise TypeError(f"{self.definition.name} has no predict")
        return self._predict(**self.arguments(inputs))

    def arguments(self, inputs: Sequence[Tensor | None], taken: frozenset[str] | None = None) -> dict[str, Any]:
        """What a method that takes those inputs is called with; ``taken`` where it does not take all of them."""
        return {
            one.spec.name: _argument(tensor, one)
            for tensor, one in zip(inputs, self._inputs, strict=True)
            if tensor is not None and (taken is None or one.spec.name in taken)
        }

    def _tensors(self, answer: Any, outputs: tuple[str, ...]) -> list[Tensor]:  # noqa: ANN401 - what a user's code returned
        place = f"{self.definition.name}.predict"
        if not self._named:
            return [_tensor(name, answer, place) for name in outputs]
        if not isinstance(answer, dict):
            raise _wrong(f"{place} returned {type(answer).__name__}, and a dict is declared")
        for name in outputs:
            if name not in answer:
                raise _wrong(f"{place} returned no output {name!r}, which is declared")
        return [_tensor(name, answer[name], place) for name in outputs]

    def close(self) -> None:
        """The instance goes with the last reference to it; one that holds workers of its own lets them go now."""
        release = getattr(self.instance, "__pillion_close__", None)
        if release is not None:
            release()


def _rule(one: PredictInput) -> InputRule:
    if one.form is Form.FREE:
        return InputRule(one.spec, frozenset(Datatype), free_rank=True)
    if one.form is Form.TEXTS:
        return InputRule(one.spec, frozenset({Datatype.BYTES}), free_rank=True)
    return InputRule(one.spec, _NUMERIC, free_rank=True)


def _argument(tensor: Tensor, one: PredictInput) -> Any:  # noqa: ANN401 - array or list
    data = tensor.data
    if tensor.datatype is Datatype.BYTES:
        decoded = text.decode(data, tensor.name)
        return decoded.ravel().tolist() if one.form is Form.TEXTS else decoded
    if tensor.datatype is Datatype.BF16:  # the upper half of an FP32's bits
        data = (data.astype(np.uint32) << 16).view(np.float32)
    if one.form is Form.LIST:
        return data.astype(dtype_of(one.spec.datatype), copy=False).ravel().tolist()
    if one.form is Form.ARRAY:
        data = data.astype(dtype_of(one.spec.datatype), copy=False)
    # People write `x -= mean`; the request's buffer is read-only, so they get one of their own.
    return data if data.flags.writeable else data.copy()


def _tensor(name: str, answer: Any, place: str) -> Tensor:  # noqa: ANN401 - what a user's code returned
    if isinstance(answer, dict):
        raise _wrong(f"{place} returned a dict: declare its keys by a TypedDict as the return type")
    try:
        data = np.asarray(answer)
        datatype = datatype_of(data.dtype)
    except ValueError as error:
        raise _wrong(f"{place} returned no array: {error}") from error
    if data.dtype.kind == "O" and not all(isinstance(item, str | bytes) for item in data.ravel().tolist()):
        raise _wrong(f"{place} returned {type(answer).__name__}, and an array of numbers or text is wanted")
    return Tensor(name, datatype, text.encode(data) if datatype is Datatype.BYTES else data)


def _wrong(message: str) -> PillionError:
    return PillionError(ErrorCode.MODEL_FAILED, message, remedy="return what is declared")


class PythonTaskRun:
    """One call of a task (see :class:`~pillion.backends.api.TaskRun`)."""

    __slots__ = ("_arguments", "_make", "_method", "_task", "asynchronous", "value")

    def __init__(
        self,
        method: Callable[..., Any],
        task: TaskSignature,
        arguments: Mapping[str, Any],
        make: Callable[[Any], Any],
    ) -> None:
        self._method = method
        self._task = task
        self._arguments = arguments
        self._make = make
        self.asynchronous = task.asynchronous
        self.value: Any = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Call the method, in a thread."""
        del inputs, outputs, interrupt
        return self._keep(self._method(**self._arguments))

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """Await the method, on the event loop."""
        del inputs, outputs
        return self._keep(await self._method(**self._arguments))

    def _keep(self, answer: Any) -> list[Tensor]:  # noqa: ANN401 - what a user's code returned
        try:
            self.value = self._make(answer)
        except ResultError as error:
            raise undeclared(error, self._task, "returned") from None
        return []


@dataclass(frozen=True, slots=True)
class Found:
    """A class to serve, and where it came from."""

    cls: type[Any]
    files: tuple[str, ...]
    """What it was made of, to be watched."""
    folder: Path
    """What counts as the user's code in tracebacks."""
    lock_folder: Path
    """Where ``proto.lock`` lies, if there is one."""

    def lock(self) -> FieldLock | None:
        """The numbers of its protobuf fields, where they are locked.

        Raises:
            AuthoringError: there is a lock, and it cannot be used.
        """
        return read_lock(self.lock_folder)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Turn what goes wrong while the class is loaded into a sentence with file and line.

        Raises:
            ModelLoadError: the class, or what it loads, is at fault.
        """
        try:
            yield
        except (AuthoringError, ModelLoadError) as error:
            failure = error if isinstance(error, ModelLoadError) else ModelLoadError(str(error))
            failure.files = self.files
            raise failure from None
        except Exception as error:
            failure = failure_in_code(error, self.folder, f"{self.cls.__name__}.load")
            failure.files = tuple(dict.fromkeys((*self.files, *failure.files)))
            _log.debug("the user's code failed to load", exc_info=error)
            raise failure from error


def find(desired: DesiredModel, classes: Mapping[str, type[Any]]) -> Found:
    """Import the class, or take the one that the embedding program handed over.

    Raises:
        ModelLoadError: it cannot be imported; with file and line.
    """
    if desired.code is not None:
        imported = import_class(desired.code)
        folder = Path(desired.code.folder)
        return Found(imported.cls, (*imported.files, str(folder / LOCK_NAME)), folder, folder)
    cls = classes[desired.name]
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Found(cls, (), Path(file or Path.cwd()).parent, lock_folder(cls, file))


def load(found: Found, desired: DesiredModel, tell: Tell) -> PythonModel:
    """Make an instance and load it. ``tell`` hears of its tasks before that.

    Raises:
        ModelLoadError: with file and line where the user's code is at fault.
    """
    with found.telling():
        definition = define(found.cls)
        tell({signature.name: signature for signature in definition.tasks})
        lock = found.lock()
        instance = _instance(definition, desired)
        _load(definition, instance, desired)
    return PythonModel(definition, instance, found.files, lock)


def _instance(definition: ModelDefinition, desired: DesiredModel) -> Model:
    instance = definition.cls()
    instance.device = desired.device or "cpu"
    return instance


def _load(definition: ModelDefinition, instance: Model, desired: DesiredModel) -> None:
    if not definition.takes_artifact:
        # A class that was fetched lies in the folder that it would be given.
        if desired.path and (desired.code is None or desired.format != PYTHON):
            raise ModelLoadError(
                f"{definition.name}.load takes no artifact, and {desired.path} was given", "write load(self, artifact)"
            )
        instance.load()
        return
    if not desired.path and not definition.needs_artifact:
        instance.load()
        return
    if not desired.path:
        raise ModelLoadError(
            f"{definition.name}.load takes an artifact, and none was given",
            "name its files: --artifact PATH, or pillion.serve(..., artifact=PATH)",
        )
    instance.load(Path(desired.path))
