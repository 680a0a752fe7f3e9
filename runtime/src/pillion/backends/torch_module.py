"""Modules of PyTorch: a class of the user's with its weights, TorchScript, and pickled modules.

A module does not say what it takes. Where its class has ``example_inputs`` (a tensor, a tuple in the order of
``forward``, or a dictionary by its names; also as a method), it is run on them once: that gives the datatype and
shape of every input and output, and the dimensions that vary with the first. Without it, inputs are the parameters of
``forward`` and take any numbers of any shape.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import torch

from pillion.backends.api import InputRule, ModelLoadError
from pillion.backends.torch_tensors import NUMERIC, datatype_of, from_torch, named_leaves, to_torch
from pillion.errors import ErrorCode, PillionError
from pillion.model import Libraries, ModelMetadata
from pillion.tensors import Datatype, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.backends.torch_tensors import OperatorThreads
    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["ModuleModel"]

_EXAMPLE: Final = "example_inputs"
_FAILURES: Final = (torch.OutOfMemoryError, *filter(None, [getattr(torch, "AcceleratorError", None)]))
"""Errors of the machine, which are errors of the runtime by their class."""


class ModuleModel:
    """A module in evaluation mode. Threads may share it, as long as ``forward`` keeps nothing in it."""

    def __init__(
        self,
        module: torch.nn.Module,
        platform: str,
        device: torch.device,
        threads: OperatorThreads,
        files: tuple[str, ...] = (),
    ) -> None:
        """Args:
        module: with its weights.
        platform: for metadata.
        device: where it computes.
        threads: inside an operator.
        files: of the user's code, to be watched.
        """
        self.files = files
        self._module = module.to(device).eval()
        self._device = device
        self._threads = threads
        parameter = next((p for p in module.parameters() if p.dtype.is_floating_point), None)
        self._floating = torch.float32 if parameter is None else parameter.dtype
        names = _parameters(module)
        example = _example(module, names)
        self._declared = example is not None
        if example is None:
            specs = tuple(TensorSpec(name, Datatype.FP32, (-1,), optional=optional) for name, optional in names.items())
            outputs: tuple[TensorSpec, ...] = (TensorSpec("output", Datatype.FP32, (-1,)),)
            self.rules = tuple(InputRule(spec, NUMERIC, free_rank=True) for spec in specs)
        else:
            specs, outputs = self._tried(example)
            self.rules = tuple(
                InputRule(spec, frozenset({spec.datatype}), tuple("batch" if size < 0 else "" for size in spec.shape))
                for spec in specs
            )
        self._names = tuple(spec.name for spec in specs)
        self.any_input_name = len(self.rules) == 1
        self.default_outputs = tuple(spec.name for spec in outputs)
        self.metadata = ModelMetadata(platform, specs, outputs)
        self.libraries: Libraries | None = Libraries(saved={}, loading={"torch": torch.__version__})

    def predict(
        self,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        interrupt: Interrupt | None,  # noqa: ARG002 - a call of the library cannot be stopped
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        self._threads.use()
        given = {
            name: to_torch(tensor, self._device)
            for name, tensor in zip(self._names, inputs, strict=True)
            if tensor is not None
        }
        if not self._declared:  # floating numbers as the weights are: JSON and clients have their own idea
            given = {n: t.to(self._floating) if t.dtype.is_floating_point else t for n, t in given.items()}
        results = dict(self._run(given))
        for name in outputs:
            if not isinstance(results.get(name), torch.Tensor):
                raise PillionError(
                    ErrorCode.MODEL_FAILED,
                    f"forward gave {', '.join(results) or 'nothing'}, and no tensor {name!r}",
                    remedy=f"give the class {_EXAMPLE}, so that its outputs are known",
                )
        return [from_torch(name, results[name]) for name in outputs]

    def _run(self, given: Mapping[str, torch.Tensor]) -> list[tuple[str, Any]]:
        try:
            with torch.inference_mode():
                return named_leaves(self._module(**given))
        except IndexError as error:
            raise ValueError(f"an input indexes what is not there: {error}") from error
        except _FAILURES:
            raise
        except RuntimeError as error:
            if self._declared:
                raise
            # Nothing was declared that could have been checked: PyTorch's own check of shapes and dtypes.
            said = str(error).strip().splitlines()[-1].removeprefix("RuntimeError: ")
            shown = ", ".join(f"{name} {datatype_of(t.dtype)} {list(t.shape)}" for name, t in given.items())
            raise ValueError(f"forward refused {shown}: {said}") from error

    def _tried(self, example: Mapping[str, torch.Tensor]) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs as one call shows them; a second one with twice the rows shows what varies."""
        given = {name: tensor.to(self._device) for name, tensor in example.items()}
        try:
            with torch.inference_mode():
                once = dict(named_leaves(self._module(**given)))
        except Exception as error:
            raise ModelLoadError(
                f"forward fails on {_EXAMPLE}: {type(error).__name__}: {error}", f"mend forward or {_EXAMPLE}"
            ) from error
        twice = self._doubled(given)
        inputs = tuple(_spec(name, tensor, None if twice is None else twice[0][name]) for name, tensor in given.items())
        outputs = tuple(
            _spec(name, value, None if twice is None else twice[1].get(name))
            for name, value in once.items()
            if isinstance(value, torch.Tensor)
        )
        if not outputs:
            raise ModelLoadError("forward gives no tensor", "return a tensor, a tuple or a dict of tensors")
        return inputs, outputs

    def _doubled(self, given: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The same with every row twice; None where the inputs have no rows in common, or the module refuses."""
        if len({tensor.shape[:1] for tensor in given.values()}) != 1 or not next(iter(given.values())).shape:
            return None
        doubled = {name: torch.cat([tensor, tensor]) for name, tensor in given.items()}
        try:
            with torch.inference_mode():
                return doubled, dict(named_leaves(self._module(**doubled)))
        except Exception:  # noqa: BLE001 - whatever it raises, it takes no other number of rows
            return None

    def close(self) -> None:
        """The module's memory goes with the last reference to it."""


def _parameters(module: torch.nn.Module) -> dict[str, bool]:
    """The names of what ``forward`` takes, and whether each may be left out."""
    if isinstance(module, torch.jit.ScriptModule):
        arguments = module.forward.schema.arguments[1:]
        return {argument.name: argument.has_default_value() for argument in arguments}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = {
        name: parameter.default is not inspect.Parameter.empty
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in kinds
    }
    if not found:
        raise ModelLoadError(
            f"{type(module).__name__}.forward has no named parameters", "name its inputs: def forward(self, x)"
        )
    return found


def _example(module: torch.nn.Module, names: Mapping[str, bool]) -> dict[str, torch.Tensor] | None:
    value = getattr(module, _EXAMPLE, None)
    if isinstance(module, torch.jit.ScriptModule) or value is None:
        return None
    if inspect.ismethod(value) or inspect.isfunction(value):
        value = value()
    if isinstance(value, torch.Tensor):
        value = (value,)
    if isinstance(value, tuple | list) and len(value) <= len(names):
        value = dict(zip(names, value, strict=False))
    wrong = ModelLoadError(
        f"{type(module).__name__}.{_EXAMPLE} is neither a tensor, a tuple of tensors nor a dict of them by the names "
        f"of forward: {', '.join(names)}",
        f"write {_EXAMPLE} = torch.zeros(1, 4), or a tuple in the order of forward",
    )
    if not isinstance(value, dict) or not value or not set(value) <= set(names):
        raise wrong
    if not all(isinstance(tensor, torch.Tensor) and datatype_of(tensor.dtype) for tensor in value.values()):
        raise wrong
    return dict(value)


def _spec(name: str, value: torch.Tensor, doubled: torch.Tensor | None) -> TensorSpec:
    datatype = datatype_of(value.dtype)
    if datatype is None:
        raise ModelLoadError(
            f"output {name!r} is of {value.dtype}, which the protocol cannot carry", "return another dtype"
        )
    other = value if doubled is None else doubled
    if len(other.shape) != len(value.shape):
        return TensorSpec(name, datatype, tuple(-1 for _ in value.shape))
    return TensorSpec(name, datatype, tuple(a if a == b else -1 for a, b in zip(value.shape, other.shape, strict=True)))
