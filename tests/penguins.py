"""The reference of named columns: the penguins of palmerpenguins, with text, numbers and missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import skops.io
from palmerpenguins import load_penguins
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NUMBERS", "TEXTS", "fit", "save", "table", "v2_inputs"]

NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
TEXTS = ["island", "sex"]


def table() -> Any:
    """All 344 penguins as a frame: two columns of text, four of numbers, both with gaps, and the year."""
    return load_penguins().drop(columns="species")


def fit(unknown: str = "ignore", *, remainder: str = "passthrough", model: Any = None) -> Any:
    """The pipeline that people write for such a table, fitted."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown=unknown))
    columns = ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)], remainder=remainder)
    last = LogisticRegression(max_iter=5000) if model is None else model
    return make_pipeline(columns, last).fit(table(), load_penguins()["species"])


def save(estimator: Any, folder: Path, name: str = "penguins") -> Path:
    """Write it as skops."""
    path = folder / f"{name}.skops"
    skops.io.dump(estimator, path)
    return path


def v2_inputs(frame: Any) -> list[dict[str, Any]]:
    """The frame as MLServer's clients send it with content type ``pd``: a column an input, null for what is missing."""
    datatypes = {"f": "FP64", "i": "INT64", "b": "BOOL"}
    return [
        {
            "name": name,
            "shape": [len(frame), 1],
            "datatype": datatypes.get(frame[name].dtype.kind, "BYTES"),
            "data": [None if value != value else value for value in frame[name].tolist()],  # noqa: PLR0124 - NaN is not itself
        }
        for name in frame.columns
    ]
