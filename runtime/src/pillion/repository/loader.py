"""From a path on disk to a warm model with the executor that suits it. Blocking: runs in a thread of the repository."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pillion.backends.api import ON_DEVICES, WITH_THREADS, LoadOptions, ModelLoadError, backend_named
from pillion.backends.detect import UNSAFE, detect
from pillion.backends.labels import declared
from pillion.backends.unsafe import unsafe_refusal
from pillion.execution.adaptive import AdaptiveExecutor, Timed
from pillion.execution.inline import InlineExecutor
from pillion.execution.mixed import MixedExecutor
from pillion.execution.native_threads import per_call
from pillion.execution.placement import InlineLimits, Measured, median, place
from pillion.execution.thread import ThreadExecutor
from pillion.policy import ConsentPolicy, permits
from pillion.repository.rows import sample_input, sharing
from pillion.repository.served import Served
from pillion.runtimefile import PYTHON

if TYPE_CHECKING:
    from pillion.backends.api import LoadedModel
    from pillion.backends.python import PythonModel, Tell
    from pillion.execution.api import Executor
    from pillion.model import Acceleration
    from pillion.repository.served import RepositorySettings
    from pillion.runtimefile import DesiredModel

__all__ = ["describe_failure", "load", "with_code"]

_log = logging.getLogger(__name__)
_LONGEST_LINE = 500
_LEAST_THREADS = 4
"""Threads for a class of the user's where there are fewer CPUs: such code waits for files and other services, too."""
_COROUTINES = 256
"""Calls in progress at the same time of a class whose methods are all ``async``, which wait rather than compute."""


def load(
    desired: DesiredModel, settings: RepositorySettings, cpus: int, tell: Tell = lambda _tasks: None
) -> tuple[Served, str]:
    """Find, load and warm one model; also the name of the format that was found. ``tell`` hears of the tasks of a class
    that is loaded in this process as soon as it has been imported.

    Raises:
        ModelLoadError: with sentence and remedy.
        Exception: whatever the library raised.
    """
    if desired.execution.executor == "process":
        from pillion.repository import processes  # noqa: PLC0415 - only where it is asked for

        return processes.load(desired, settings, cpus)
    policies = {settings.pickle_policy, desired.pickle_policy}
    allowed = permits(policies, opted_in=desired.allow_pickle)
    denied = ConsentPolicy.DENY in policies
    execution = desired.execution
    threads = execution.threads or cpus
    options = LoadOptions(
        allow_pickle=allowed,
        trusted_types=frozenset(desired.trusted_types),
        native_threads=execution.intra_op_threads
        or settings.intra_op_threads
        or per_call(cpus, execution.max_in_flight or threads),
        device=execution.device or settings.device,
        parameters=desired.parameters,
    )
    if desired.name in settings.classes or desired.is_python:
        from pillion.backends import python, torch_weights  # noqa: PLC0415 - what they import other models do not need

        desired = with_code(desired, settings)
        found = python.find(desired, settings.classes)
        if not torch_weights.is_module(found.cls):
            desired = _class_on_device(desired, settings)
            return _own_python(desired, python.load(found, desired, tell), cpus, settings), PYTHON
        tell({})
        module = torch_weights.load(found, desired, options, denied=denied)
        return _served(desired, module, threads, settings, _not_for_classes(desired, settings)), "torch"
    artifact = detect(Path(desired.path), desired.format)
    if artifact.kind in UNSAFE and not allowed:
        # Before any library that could read it is even imported.
        raise unsafe_refusal(artifact.path, artifact.kind, denied=denied)
    _check_hardware(desired, artifact.backend)
    packaged = artifact.packaged
    if packaged is not None:
        options = msgspec.structs.replace(
            options, columns=packaged.columns, saved=packaged.saved, tokenizer=packaged.tokenizer
        )
    model = backend_named(artifact.backend).load(artifact.path, options)
    acceleration: Acceleration | None = None
    if (execution.accelerate or settings.accelerate) == "onnx":
        from pillion.acceleration.accelerate import accelerated  # noqa: PLC0415 - only where it is asked for

        model, acceleration = accelerated(model, _label(desired), options.intra_op_threads())
    labels = declared(Path(desired.path), artifact)
    return _served(desired, model, threads, settings, acceleration, labels), artifact.backend


def _check_hardware(desired: DesiredModel, backend: str) -> None:
    """Refuse what the owner asked for and the library has no use for.

    Raises:
        ModelLoadError: a device, or a number of threads.
    """
    if desired.device not in {None, "cpu", "auto"} and backend not in ON_DEVICES:
        raise ModelLoadError(
            f"models of {backend} compute on the CPU, and the device {desired.device!r} is named", "leave it out"
        )
    asked = desired.parameters.get("intraOpThreads", desired.execution.intra_op_threads)
    if asked is not None and backend not in WITH_THREADS:
        raise ModelLoadError(
            f"models of {backend} have no number of threads of their own, and intraOpThreads is {asked}",
            "leave it out: OMP_NUM_THREADS in the server's environment bounds the threads of all of them",
        )


def _class_on_device(desired: DesiredModel, settings: RepositorySettings) -> DesiredModel:
    """A class with the device that its ``self.device`` says: which one is there is its own to find out.

    Raises:
        ModelLoadError: a number of threads is asked for, which only its code could set.
    """
    if desired.execution.intra_op_threads is not None:
        raise ModelLoadError(
            "intraOpThreads is for models without code of their own, and this one is a class",
            "leave it out, and bound its libraries in load(self), such as by torch.set_num_threads",
        )
    if desired.device is not None or settings.device == "auto":
        return desired
    execution = msgspec.structs.replace(desired.execution, device=settings.device)
    return msgspec.structs.replace(desired, execution=execution)


def with_code(desired: DesiredModel, settings: RepositorySettings) -> DesiredModel:
    """The model with the class that its folder holds, where it was fetched like a model and may run."""
    if desired.code is not None or desired.name in settings.classes:
        return desired
    from pillion.backends.python_folder import code_in, code_refusal  # noqa: PLC0415 - other models need none of it

    policies = {settings.code_policy, desired.code_policy}
    if not permits(policies, opted_in=desired.trust_code):
        # Nothing of the folder is read before that.
        raise code_refusal(denied=ConsentPolicy.DENY in policies)
    return msgspec.structs.replace(desired, code=code_in(Path(desired.path)))


def _served(
    desired: DesiredModel,
    model: LoadedModel,
    threads: int,
    settings: RepositorySettings,
    acceleration: Acceleration | None,
    labels: tuple[str, ...] = (),
) -> Served:
    label = _label(desired)
    calls = _warm_up(model, label, settings)
    shares = bool(calls) and _shares_calls(desired, model, label)
    executor = _executor(desired, threads, calls)
    return Served(desired, model, executor, threads, shares_calls=shares, acceleration=acceleration, labels=labels)


def _label(desired: DesiredModel) -> str:
    return f"{desired.name}/{desired.version}"


def _shares_calls(desired: DesiredModel, model: LoadedModel, label: str) -> bool:
    """Whether requests of the model may be computed together, by its owner's word and what is seen of it."""
    wanted = desired.execution.batching
    if wanted == "off":
        return False
    try:
        seen = sharing(model, measure=wanted == "auto")
    except Exception as error:  # noqa: BLE001 - it has computed one row and refuses two, in whatever way
        _log.info("model %s: requests do not share calls, it refuses two rows: %s", label, describe_failure(error))
        return False
    if seen.independent is None:
        _log.info("model %s: requests do not share calls, which are slow; execution.batching: on makes them", label)
        return False
    if not seen.independent:
        level = logging.WARNING if wanted == "on" else logging.INFO
        _log.log(level, "model %s: requests do not share calls, its rows are not computed independently", label)
        return False
    if wanted == "on":
        _log.info("model %s: requests share calls", label)
        return True
    said = "share calls" if seen.pays else "do not share calls"
    _log.info("model %s: requests %s; eight rows together take %.2f of the time", label, said, seen.together)
    return seen.pays


def _own_python(desired: DesiredModel, model: PythonModel, cpus: int, settings: RepositorySettings) -> Served:
    """A class of the user's. Not warmed up: only its author knows what a call with made-up input would do."""
    threads = desired.execution.threads or max(cpus, _LEAST_THREADS)
    if desired.execution.executor == "inline" and not (model.has_coroutines or model.streams):
        return Served(desired, model, InlineExecutor(), threads, acceleration=_not_for_classes(desired, settings))
    executor = MixedExecutor(ThreadExecutor(f"model-{desired.name}", threads))
    calls = _COROUTINES if model.runs_on_loop else threads
    return Served(desired, model, executor, calls, acceleration=_not_for_classes(desired, settings))


def _not_for_classes(desired: DesiredModel, settings: RepositorySettings) -> Acceleration | None:
    """What is said of a class of the user's that is to be accelerated."""
    if (desired.execution.accelerate or settings.accelerate) != "onnx":
        return None
    from pillion.acceleration.accelerate import refused  # noqa: PLC0415 - only where it is asked for

    return refused(_label(desired), "a class is code, which is not converted")


def _executor(desired: DesiredModel, threads: int, calls: list[Measured]) -> Executor:
    label = _label(desired)
    wanted = desired.execution.executor
    if wanted == "inline":
        return InlineExecutor()
    pool = ThreadExecutor(f"model-{desired.name}", threads)
    if wanted == "thread":
        return pool
    limits = InlineLimits()
    placement = place(calls, limits)
    if calls:
        typical = median(call.cpu for call in calls)
        _log.info("model %s: a call takes %.0f us; placement: %s", label, typical * 1e6, placement.value)
    return AdaptiveExecutor(label, pool, placement, limits)


def _warm_up(model: LoadedModel, label: str, settings: RepositorySettings) -> list[Measured]:
    """Calls with generated input after a first one, measured; none where the model refuses such input."""
    if not model.default_outputs:
        return []
    inputs = [None if rule.spec.optional else sample_input(rule) for rule in model.rules]
    try:
        timed = Timed(model)
        timed.predict(inputs, model.default_outputs, None)
        calls: list[Measured] = []
        began = time.perf_counter()
        while len(calls) < settings.warm_up_calls and time.perf_counter() - began < settings.warm_up_seconds:
            timed.predict(inputs, model.default_outputs, None)
            calls.append(timed.last)
    except Exception as error:  # noqa: BLE001 - zeros may be no valid input for a sound model: it serves, unmeasured
        _log.info("model %s: not warmed up, it refuses generated input: %s", label, describe_failure(error))
        return []
    return calls


def describe_failure(error: BaseException) -> str:
    """An exception as one bounded line: type and the last line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
    return text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 3] + "..."
