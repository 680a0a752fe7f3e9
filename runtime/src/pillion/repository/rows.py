"""Whether a model's rows may be computed together: tried out at warm-up, never assumed.

A first dimension that varies is mostly a batch, but may as well be time, or the nodes of a graph; and a layer left in
training mode mixes the rows of a batch. So two rows that differ are computed apart and together, and requests share
calls only where that makes no difference. Sums in another order do differ by a few units in the last place.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from pillion.execution.batch import apart, together
from pillion.tensors import Datatype, Tensor, dtype_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.api import InputRule, LoadedModel

__all__ = ["Sharing", "independent", "sample_input", "sharing"]

_MANY: Final = 8
_OVERHEAD_SECONDS: Final = 3e-6
"""What putting a small request into a batch and taking its results out costs, about."""
_LEAST_GAIN: Final = 0.25
_LONGEST_CALL: Final = 0.25
"""Seconds. Eight rows of a slower model would hold its start up for long, and mostly for nothing."""
_LONG: Final = 0.02
_TRIES: Final = 5


class Sharing(msgspec.Struct, frozen=True):
    """What was seen of a model's rows."""

    independent: bool | None
    """None where it was not tried."""
    together: float = 1.0
    """Time of eight rows together, by that of eight calls of one row."""
    saved_seconds: float = 0.0
    """What a row in a call of eight saves."""

    @property
    def pays(self) -> bool:
        """Whether sharing calls makes up for its cost, and for the slowest having to be waited for."""
        return bool(self.independent) and self.saved_seconds > _OVERHEAD_SECONDS and self.together <= 1 - _LEAST_GAIN


def sharing(model: LoadedModel, *, measure: bool = True) -> Sharing:
    """Try the model's rows apart and together. Some calls; the model has been called before.

    Args:
        model: in memory.
        measure: whether to find out if it pays, too. A model whose calls are slow is not even tried then.

    Raises:
        Exception: whatever the model makes of generated input.
    """
    rules = model.rules
    if not rules or not model.default_outputs or any(rule.free_rank or rule.spec.shape[:1] != (-1,) for rule in rules):
        return Sharing(independent=False)
    one = [None if rule.spec.optional else sample_input(rule) for rule in rules]
    if all(tensor is None for tensor in one):
        return Sharing(independent=False)
    began = time.perf_counter()
    first = model.predict(one, model.default_outputs, None)
    if measure and time.perf_counter() - began > _LONGEST_CALL:
        return Sharing(independent=None)
    if not _independent(model, one, first):
        return Sharing(independent=False)
    if not measure:
        return Sharing(independent=True)
    many = together([one] * _MANY)
    singly = _MANY * _shortest(model, one)
    jointly = _shortest(model, many)
    return Sharing(independent=True, together=jointly / max(singly, 1e-9), saved_seconds=(singly - jointly) / _MANY)


def _independent(model: LoadedModel, one: list[Tensor | None], first: list[Tensor]) -> bool:
    for texts in (True, False):
        other = [None if tensor is None else _changed(tensor, texts=texts) for tensor in one]
        try:
            second = model.predict(other, model.default_outputs, None)
        except Exception:  # noqa: BLE001, S112 - it may know no other text than its example; numbers alone will do, too
            continue
        return independent(first, second, model.predict(together([one, other]), model.default_outputs, None))
    return False


def independent(first: Sequence[Tensor], second: Sequence[Tensor], both: Sequence[Tensor]) -> bool:
    """Whether the results for two rows together are those for each alone."""
    shares = apart(both, (1, 1))
    if shares is None:
        return False
    return all(
        alone.datatype == shared.datatype and _equal(alone, shared)
        for alone, shared in zip((*first, *second), (*shares[0], *shares[1]), strict=True)
    )


def _equal(alone: Tensor, shared: Tensor) -> bool:
    if alone.data.shape != shared.data.shape:
        return False
    if alone.data.dtype.kind != "f":
        return bool((alone.data == shared.data).all())
    tolerance = 2e-2 if alone.data.dtype.itemsize == 2 else 1e-4
    # By column: a probability beside an amount of money must not be measured by the money.
    size = np.abs(np.where(np.isfinite(alone.data), alone.data, 0)).reshape(-1, alone.data.shape[-1])
    scale = np.maximum(size.max(axis=0, initial=0.0), np.finfo(alone.data.dtype).tiny)
    return bool(np.allclose(alone.data, shared.data, rtol=tolerance, atol=tolerance * scale, equal_nan=True))


def _shortest(model: LoadedModel, inputs: Sequence[Tensor | None]) -> float:
    """Seconds of a call: the least of some, which other threads disturbed least; of one, where it is long."""
    shortest = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        model.predict(inputs, model.default_outputs, None)
        elapsed = time.perf_counter() - began
        shortest = min(shortest, elapsed)
        if elapsed > _LONG:
            break
    return shortest


def sample_input(rule: InputRule) -> Tensor:
    """One row of the declared example, else of zeros or empty texts; dimensions that vary are 1."""
    spec = rule.spec
    shape = tuple(1 if size < 0 else size for size in spec.shape)
    if spec.datatype is Datatype.BYTES:
        data = np.empty(shape, dtype=np.object_)
        data.fill(str(spec.example or "").encode())
    else:
        data = np.full(shape, spec.example or 0, dtype=dtype_of(spec.datatype))
    return Tensor(spec.name, spec.datatype, data)


def _changed(tensor: Tensor, *, texts: bool) -> Tensor:
    """Another row: numbers less than one larger, texts longer, flags the other way round."""
    data: np.ndarray[Any, np.dtype[Any]] = tensor.data
    kind = data.dtype.kind
    if kind == "O":
        data = (
            np.array([value + b" x" for value in data.ravel()], dtype=np.object_).reshape(data.shape) if texts else data
        )
    elif kind == "b":
        data = ~data
    elif kind == "f":
        steps = (np.arange(1, data.size + 1) * 0.618034) % 1.0
        data = (data + steps.reshape(data.shape)).astype(data.dtype)
    elif tensor.datatype is Datatype.BF16:
        data = data ^ np.uint16(0x3F80)  # of zero it makes one
    else:
        data = data + data.dtype.type(1)
    return Tensor(tensor.name, tensor.datatype, data)
