"""Train a classifier of iris flowers and save it as iris.skops, a format that cannot run code when it is loaded.

python train.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(folder: Path) -> None:
    """Fit on three quarters of Fisher's 150 flowers, check on the rest, save the pipeline."""
    features, species = load_iris(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(features, species, random_state=0, stratify=species)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_x, train_y)
    accuracy = model.score(test_x, test_y)
    path = folder / "iris.skops"
    skops.io.dump(model, path)
    print(f"wrote {path.name} ({features.shape[1]} columns, {len(set(species))} classes)")
    print(f"accuracy on {len(test_y)} flowers not used for training: {accuracy:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
