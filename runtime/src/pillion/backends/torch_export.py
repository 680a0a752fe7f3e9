"""Programs of ``torch.export``: inputs, outputs and their shapes come from the program's own signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils import _pytree

from pillion.backends.api import InputRule, ModelLoadError
from pillion.backends.torch_tensors import datatype_of, from_torch, named_leaves, to_torch
from pillion.model import Libraries, ModelMetadata
from pillion.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.backends.torch_tensors import OperatorThreads
    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["ExportedModel"]

_GUARD: Final = "Guard failed: "
"""What the program's checks of its inputs raise begins so; the condition that did not hold follows."""


class ExportedModel:
    """A program, moved to its device. It holds no state that a call changes, so threads may share it."""

    def __init__(
        self, program: torch.export.ExportedProgram, device: torch.device, threads: OperatorThreads, saved_by: str
    ) -> None:
        self._device = device
        self._threads = threads
        nodes = {node.name: node for node in program.graph.nodes}
        self._constants, self.rules = _inputs(program, nodes)
        self._outputs, specs = _outputs(program, nodes)
        self._structure = program.call_spec.in_spec
        self._ranges = {
            str(symbol): (int(bounds.lower), _bound(bounds.upper))
            for symbol, bounds in program.range_constraints.items()
        }
        moved = program if device.type == "cpu" else torch.export.passes.move_to_device_pass(program, device)
        self._module = moved.module()
        self._direct = _direct(self._module, self.rules, len(self._constants))
        self._shared = not _changes_memory(program)
        self.any_input_name = len(self.rules) == 1
        self.default_outputs = tuple(spec.name for spec in specs)
        self.metadata = ModelMetadata("pytorch_export", tuple(rule.spec for rule in self.rules), specs)
        self.libraries: Libraries | None = Libraries(
            saved={"torch": saved_by} if saved_by else {}, loading={"torch": torch.__version__}
        )

    def predict(
        self,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        interrupt: Interrupt | None,  # noqa: ARG002 - a call of the library cannot be stopped
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        self._threads.use()
        given = iter(inputs)
        flat: list[Any] = list(self._constants)
        for position, constant in enumerate(flat):
            if constant is _GIVEN:
                tensor = next(given)
                if tensor is not None:  # no input is optional
                    flat[position] = to_torch(tensor, self._device, shared=self._shared)
        self._check_ranges(inputs)
        try:
            with torch.inference_mode():
                results = self._computed(flat)
        except IndexError as error:
            raise ValueError(f"an input indexes what is not there: {error}") from error
        except AssertionError as error:
            guard = str(error)
            if not guard.startswith(_GUARD):
                raise
            raise ValueError(f"the program was exported for other shapes: it needs {guard[len(_GUARD) :]}") from error
        leaves = dict(zip(self._outputs, results, strict=True))
        # An output may be an input as it came, in the memory of the request.
        return [from_torch(name, leaves[name]) for name in outputs]

    def _computed(self, flat: list[Any]) -> Sequence[torch.Tensor]:
        """The results in the order of the outputs."""
        if self._direct is not None:
            results: Sequence[torch.Tensor] = self._direct(*flat)
            return results
        args, kwargs = _pytree.tree_unflatten(flat, self._structure)
        leaves: list[torch.Tensor] = _pytree.tree_leaves(self._module(*args, **kwargs))
        return leaves

    def _check_ranges(self, inputs: Sequence[Tensor | None]) -> None:
        """The program's own guards would raise the same as an assertion about its inner names."""
        for rule, tensor in zip(self.rules, inputs, strict=True):
            for axis, symbol in enumerate(rule.symbols):
                if tensor is None or symbol not in self._ranges:
                    continue
                least, most = self._ranges[symbol]
                size = tensor.shape[axis]
                if size < least or (most is not None and size > most):
                    allowed = f"at least {least}" if most is None else f"from {least} to {most}"
                    raise ValueError(
                        f"input {rule.spec.name!r}: dimension {axis} is {size}, and the program takes {allowed}"
                    )

    def close(self) -> None:
        """The program's memory goes with the last reference to it."""


def _direct(module: torch.fx.GraphModule, rules: tuple[InputRule, ...], places: int) -> Callable[..., Any] | None:
    """The program from a flat list of its inputs to a flat tuple of its outputs; None where it has to be called whole.

    The module takes its inputs apart, compares their shapes with those it was exported for, and puts its outputs
    together, which takes several times as long as a small model. Sizes that are fixed, agree or have bounds are checked
    by the data plane and by :meth:`ExportedModel._check_ranges`; further conditions are steps of the program itself,
    and where one size is made of another the module is called whole.
    """
    plain = all(not symbol or symbol.isidentifier() for rule in rules for symbol in rule.symbols)
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    if not plain or len(inputs) != places:
        return None
    graph = torch.fx.Graph()
    results = graph.graph_copy(module.graph, {})
    graph.output(results)
    flat = torch.fx.GraphModule(module, graph)
    forward: Callable[..., Any] = flat.forward
    return forward


def _changes_memory(program: torch.export.ExportedProgram) -> bool:
    """Whether the program writes into a tensor, which might be an input's memory."""
    if program.graph_signature.user_inputs_to_mutate:
        return True  # decomposed programs have no such step until they are made into modules
    # Branches and loops have graphs of their own.
    graphs = [part.graph for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    schemas = (getattr(node.target, "_schema", None) for graph in graphs for node in graph.nodes)
    return any(schema is not None and schema.is_mutable for schema in schemas)


class _Given:
    """Stands where a request's tensor goes."""


_GIVEN = _Given()


def _bound(upper: Any) -> int | None:  # noqa: ANN401 - a number of sympy's
    try:
        return int(upper)
    except (TypeError, OverflowError, ValueError, AttributeError):
        return None  # infinity


def _inputs(
    program: torch.export.ExportedProgram, nodes: dict[str, Any]
) -> tuple[tuple[Any, ...], tuple[InputRule, ...]]:
    """What each place of the call gets: a tensor of the request, or what was constant when it was exported."""
    constants: list[Any] = []
    rules = []
    for name in program.graph_signature.user_inputs:
        if not isinstance(name, str):
            constants.append(name)
            continue
        value = nodes[name].meta.get("val") if name in nodes else None
        if not isinstance(value, torch.Tensor):
            if isinstance(value, torch.SymInt):
                raise ModelLoadError(
                    f"input {name!r} of the program is a number that varies, and requests bring tensors",
                    "export it again with a tensor in its place",
                )
            constants.append(value)
            continue
        constants.append(_GIVEN)
        rules.append(_rule(name, value))
    return tuple(constants), tuple(rules)


def _rule(name: str, value: torch.Tensor) -> InputRule:
    datatype = datatype_of(value.dtype)
    if datatype is None:
        raise ModelLoadError(
            f"input {name!r} is of {value.dtype}, which the protocol cannot carry", "export it again with another dtype"
        )
    symbols = tuple("" if isinstance(size, int) else str(size) for size in value.shape)
    return InputRule(TensorSpec(name, datatype, _shape(value)), frozenset({datatype}), symbols)


def _outputs(
    program: torch.export.ExportedProgram, nodes: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[TensorSpec, ...]]:
    """The name of each result in order, and what is known of those that are tensors."""
    positions = list(range(len(program.graph_signature.user_outputs)))
    by_position = {
        position: name for name, position in named_leaves(_pytree.tree_unflatten(positions, program.call_spec.out_spec))
    }
    names = tuple(by_position[position] for position in positions)
    specs = []
    for name, node in zip(names, program.graph_signature.user_outputs, strict=True):
        value = nodes[node].meta.get("val") if isinstance(node, str) and node in nodes else None
        datatype = datatype_of(value.dtype) if isinstance(value, torch.Tensor) else None
        if value is not None and datatype is not None:
            specs.append(TensorSpec(name, datatype, _shape(value)))
    if not specs:
        raise ModelLoadError("no output of the program is a tensor", "export it again with tensor outputs")
    return names, tuple(specs)


def _shape(value: torch.Tensor) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in value.shape)
