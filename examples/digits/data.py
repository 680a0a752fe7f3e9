"""Prints scikit-learn's digits, one JSON object a line."""

from __future__ import annotations

import json

from sklearn.datasets import load_digits

digits = load_digits()
for pixels, digit in zip(digits.data.tolist(), digits.target.tolist(), strict=True):
    print(json.dumps({"pixels": pixels, "digit": digit}))
