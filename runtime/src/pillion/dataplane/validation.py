"""Requests checked against what the model declares, before anything is queued or computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.errors import ErrorCode, PillionError
from pillion.tensors import Datatype, dtype_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.api import InputRule, LoadedModel
    from pillion.tensors import Tensor

__all__ = ["Binder"]


class Binder:
    """Binds the tensors of a request to the inputs of one model.

    Built once per loaded model: what can be computed beforehand is.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._rules = model.rules
        self._any_name = model.any_input_name and len(model.rules) == 1
        self._index = {rule.spec.name: position for position, rule in enumerate(model.rules)}
        self._outputs = frozenset(spec.name for spec in model.metadata.outputs)
        self._default_outputs = model.default_outputs
        self._symbols = any(any(rule.symbols) for rule in model.rules) and len(model.rules) > 1

    def outputs(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The outputs to compute.

        Raises:
            PillionError: ``INVALID_ARGUMENT``: an unknown output or one named twice.
        """
        if not wanted:
            return self._default_outputs
        for position, name in enumerate(wanted):
            if name not in self._outputs:
                raise _invalid(f"outputs[{position}].name", f"the model has no output {name!r}; {self._offered()}")
            if name in wanted[:position]:
                raise _invalid(f"outputs[{position}].name", f"output {name!r} is asked for twice")
        return wanted

    def inputs(self, given: list[Tensor]) -> Sequence[Tensor | None]:
        """The tensors in the order of the model's inputs; None for an optional one that is left out.

        Raises:
            PillionError: ``INVALID_ARGUMENT`` with the path of the field and what was expected.
        """
        rules = self._rules
        if not rules:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                "inputs: the model takes no tensors",
                field="inputs",
                remedy="call its tasks: /docs lists them",
            )
        if len(given) == 1 and len(rules) == 1:
            tensor = given[0]
            if tensor.name == rules[0].spec.name or self._any_name:
                _check(tensor, rules[0], 0)
                return given
        bound: list[Tensor | None] = [None] * len(rules)
        places: list[int] = [0] * len(rules)
        for place, tensor in enumerate(given):
            position = self._index.get(tensor.name)
            if position is None:
                raise _invalid(f"inputs[{place}].name", f"the model has no input {tensor.name!r}; {self._expected()}")
            if bound[position] is not None:
                raise _invalid(f"inputs[{place}].name", f"input {tensor.name!r} is given twice")
            _check(tensor, rules[position], place)
            bound[position] = tensor
            places[position] = place
        for rule, found in zip(rules, bound, strict=True):
            if found is None and not rule.spec.optional:
                raise _invalid("inputs", f"input {rule.spec.name!r} is missing; {self._expected()}")
        if self._symbols:
            self._agree(bound, places)
        return bound

    def _agree(self, bound: Sequence[Tensor | None], places: Sequence[int]) -> None:
        """Dimensions that the model gives one name must be of one size."""
        sizes: dict[str, tuple[int, str]] = {}
        for rule, tensor, place in zip(self._rules, bound, places, strict=True):
            if tensor is None:
                continue
            for symbol, size in zip(rule.symbols, tensor.data.shape, strict=False):
                if not symbol:
                    continue
                known, other = sizes.setdefault(symbol, (size, tensor.name))
                if known != size:
                    raise _invalid(
                        f"inputs[{place}].shape",
                        f"dimension {symbol!r} is {size} in input {tensor.name!r} and {known} in input {other!r};"
                        " they must agree",
                    )

    def _expected(self) -> str:
        return "expected: " + ", ".join(
            f"{rule.spec.name!r} ({rule.spec.datatype.value} {list(rule.spec.shape)})" for rule in self._rules
        )

    def _offered(self) -> str:
        return "it has: " + ", ".join(sorted(self._outputs))


def _check(tensor: Tensor, rule: InputRule, place: int) -> None:
    spec = rule.spec
    if tensor.datatype not in rule.accepts:
        raise _invalid(
            f"inputs[{place}].datatype",
            f"input {tensor.name!r} is {tensor.datatype.value}, expected {_datatypes(rule)}",
        )
    shape = tensor.data.shape
    if not (rule.free_rank or _fits(shape, spec.shape) or any(_fits(shape, other) for other in rule.shapes)):
        raise _invalid(
            f"inputs[{place}].shape",
            f"input {tensor.name!r} has shape {list(shape)}, expected {list(spec.shape)}"
            + (" (-1: any size)" if -1 in spec.shape else ""),
        )
    dtype, expected = tensor.data.dtype, dtype_of(tensor.datatype)
    if dtype is not expected and dtype != expected:
        raise _invalid(
            f"inputs[{place}].data", f"input {tensor.name!r} is declared {tensor.datatype.value} and carries other data"
        )


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    return all(want in (-1, size) for size, want in zip(shape, declared, strict=True))


def _datatypes(rule: InputRule) -> str:
    if rule.accepts == frozenset({rule.spec.datatype}):
        return rule.spec.datatype.value
    if rule.accepts == frozenset(Datatype) - {Datatype.BYTES}:
        return f"{rule.spec.datatype.value} or another numeric datatype"
    return "one of " + ", ".join(sorted(datatype.value for datatype in rule.accepts))


def _invalid(field: str, message: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {message}", field=field)
