"""Fixtures that several areas share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.models import IrisModels, train_iris

if TYPE_CHECKING:
    import pathlib


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> IrisModels:
    """A real classifier in every format (see :class:`tests.models.IrisModels`)."""
    folder: pathlib.Path = tmp_path_factory.mktemp("iris")
    return train_iris(folder)
