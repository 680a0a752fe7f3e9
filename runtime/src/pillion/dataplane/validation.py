"""Requests checked against what the model declares, before anything is queued or computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.dataplane.columns import column_rule, joined
from pillion.errors import ErrorCode, PillionError
from pillion.tensors import Datatype, dtype_of
from pillion.wording import listing, missing, nearest

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
        metadata = model.metadata
        self._rules = model.rules
        self._any_name = model.any_input_name and len(model.rules) == 1
        self._outputs = frozenset(spec.name for spec in metadata.outputs)
        self._default_outputs = model.default_outputs
        self._columns: frozenset[str] | None = None
        rules = model.rules
        if metadata.columns and len(rules) == 1:
            self._columns = frozenset(spec.name for spec in metadata.columns)
            rules = tuple(column_rule(spec, rules[0].accepts) for spec in metadata.columns)
        self._named = _Named(rules, frozenset(metadata.ignored))

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

        Columns sent for a model whose input is one matrix become that matrix.

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
            if (tensor.name == rules[0].spec.name or self._any_name) and (
                self._columns is None or not self._is_column(tensor)
            ):
                _check(tensor, rules[0], 0)
                return given
        bound = self._named.bind(given)
        if self._columns is None:
            return bound
        return [joined([column for column in bound if column is not None], rules[0].spec)]

    def _is_column(self, tensor: Tensor) -> bool:
        """Whether the only tensor is one column rather than the matrix: it is then told which others are missing."""
        return (
            self._columns is not None
            and tensor.name in self._columns
            and not _fits(tensor.data.shape, self._rules[0].spec.shape)
        )

    def _offered(self) -> str:
        return "it has: " + ", ".join(sorted(self._outputs))


class _Named:
    """Inputs that are told apart by their names."""

    def __init__(self, rules: tuple[InputRule, ...], ignored: frozenset[str]) -> None:
        self._rules = rules
        self._ignored = ignored
        self._index = {rule.spec.name: position for position, rule in enumerate(rules)}
        self._symbols = any(any(rule.symbols) for rule in rules) and len(rules) > 1

    def bind(self, given: list[Tensor]) -> list[Tensor | None]:
        """The tensors in the order of the rules; None for an optional one that is left out."""
        rules = self._rules
        bound: list[Tensor | None] = [None] * len(rules)
        places: list[int] = [0] * len(rules)
        for place, tensor in enumerate(given):
            position = self._index.get(tensor.name)
            if position is None:
                if tensor.name in self._ignored:
                    continue
                raise self._unknown(tensor.name, place, given)
            if bound[position] is not None:
                raise _invalid(f"inputs[{place}].name", f"input {tensor.name!r} is given twice")
            _check(tensor, rules[position], place)
            bound[position] = tensor
            places[position] = place
        absent = [
            rule.spec.name for rule, found in zip(rules, bound, strict=True) if found is None and not rule.spec.optional
        ]
        if absent:
            raise _invalid("inputs", f"{missing(absent)}; {self._expected()}")
        if self._symbols:
            self._agree(bound, places)
        return bound

    def _unknown(self, name: str, place: int, given: list[Tensor]) -> PillionError:
        present = {tensor.name for tensor in given}
        near = nearest(name, [known for known in self._index if known not in present])
        return _invalid(f"inputs[{place}].name", f"the model has no input {name!r}{near}; {self._expected()}")

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
        return "expected: " + listing(
            [f"{rule.spec.name!r} ({rule.spec.datatype.value} {list(rule.spec.shape)})" for rule in self._rules]
        )


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
    if tensor.missing is not None and not spec.nullable:
        element = int(tensor.missing.argmax())
        row = element // max(1, tensor.missing[0].size) if shape else 0
        raise _invalid(
            f"inputs[{place}].data[{element}]",
            f"input {tensor.name!r} is null in row {row}, and the model takes no missing values there",
        )


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    for size, wanted in zip(shape, declared, strict=True):  # noqa: SIM110 - `all` would make a generator for each request
        if wanted not in (-1, size):
            return False
    return True


def _datatypes(rule: InputRule) -> str:
    if rule.accepts == frozenset({rule.spec.datatype}):
        return rule.spec.datatype.value
    if rule.accepts == frozenset(Datatype) - {Datatype.BYTES}:
        return f"{rule.spec.datatype.value} or another numeric datatype"
    return "one of " + ", ".join(sorted(datatype.value for datatype in rule.accepts))


def _invalid(field: str, message: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {message}", field=field)
