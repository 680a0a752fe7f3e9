"""The rows that results are compared on: from a file, or made up from what the estimator says of its input."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Samples", "generated", "read"]

_ROWS: Final = 400
_SPREADS: Final = (1.0, 10.0, 100.0)
_MOST_BYTES: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows as the estimator takes them."""

    rows: Any
    """An array [rows, columns], or a data frame where the estimator knows its columns by name."""
    generated: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Rows there are."""
        return len(self.rows)


def read(path: Path, estimator: object) -> Samples:
    """Read ``.npy`` or ``.csv``; columns of a CSV with names are put into the estimator's order.

    Raises:
        ModelLoadError: not readable, or not the columns that the estimator was fitted on.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelLoadError(f"{path} is larger than {_MOST_BYTES >> 20} MiB", "a few hundred rows are enough")
        if path.suffix.lower() == ".npy":
            return _checked(Samples(np.load(path, allow_pickle=False), generated=False), estimator, path)
        if path.suffix.lower() == ".csv":
            return _checked(_csv(path, estimator), estimator, path)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        remedy = "give a .csv with one column per feature, or a .npy"
        raise ModelLoadError(f"{path} cannot be read: {error}", remedy) from error
    raise ModelLoadError(f"{path} is neither .csv nor .npy", "give --samples a file of one of the two")


def generated(estimator: object) -> Samples:
    """Rows of random numbers on several scales, the same each time.

    Raises:
        ModelLoadError: the estimator does not say what it takes, or takes more than numbers.
    """
    width = getattr(estimator, "n_features_in_", None)
    if not isinstance(width, int):
        raise ModelLoadError(
            f"what a {type(estimator).__name__} takes cannot be made up", "give rows of yours: --samples rows.csv"
        )
    random = np.random.default_rng(0)
    parts = [random.normal(0, spread, (_ROWS // 4, width)) for spread in _SPREADS]
    parts.append(random.uniform(0, 10, (_ROWS - len(parts) * (_ROWS // 4), width)))
    rows: Any = np.concatenate(parts)
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and find_spec("pandas"):
        rows = _frame(rows, names)
    return Samples(rows, generated=True)


def _csv(path: Path, estimator: object) -> Samples:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        lines = [line for line in csv.reader(stream) if line]
    if not lines:
        raise ValueError("it is empty")
    named = not any(_is_number(cell) for cell in lines[0])
    fitted = getattr(estimator, "feature_names_in_", None)
    if not named or fitted is None:
        return Samples(np.array(lines[1:] if named else lines, dtype=np.float64), generated=False)
    missing = [name for name in fitted if name not in lines[0]]
    if missing:
        raise ValueError(f"it has no column {', '.join(map(repr, missing))}")
    surplus = [name for name in lines[0] if name not in fitted]
    notes = (f"columns not used: {', '.join(surplus)}",) if surplus else ()
    if find_spec("pandas"):
        import pandas as pd  # noqa: PLC0415 - only where it is installed and columns have names

        return Samples(pd.read_csv(path)[list(fitted)], generated=False, notes=notes)
    order = [lines[0].index(name) for name in fitted]
    try:
        rows = np.array([[line[index] for index in order] for line in lines[1:]], dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{error}; columns that are not numbers need pandas: pip install pandas") from error
    return Samples(rows, generated=False, notes=notes)


def _checked(samples: Samples, estimator: object, path: Path) -> Samples:
    width = getattr(estimator, "n_features_in_", None)
    shape = np.shape(samples.rows)
    if not len(samples):
        raise ModelLoadError(f"{path} holds no row", "give at least one")
    if isinstance(width, int) and (len(shape) != 2 or shape[1] != width):
        raise ModelLoadError(
            f"{path} holds an array of shape {list(shape)}", f"the model takes rows of {width} features"
        )
    return samples


def _frame(rows: Any, names: Any) -> Any:  # noqa: ANN401 - pandas is optional
    import pandas as pd  # noqa: PLC0415 - as above

    return pd.DataFrame(rows, columns=list(names))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
