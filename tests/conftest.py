"""Fixtures that several areas share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from tests.models import IrisModels
    from tests.postgres import Postgres

# Servers that tests start read compiled modules, as in the images: without them each start compiles its own.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> IrisModels:
    """A real classifier in every format (see :class:`tests.models.IrisModels`)."""
    from tests.models import (
        train_iris,
    )  # not where the heavy backends are tested, which have no scikit-learn converters

    folder: pathlib.Path = tmp_path_factory.mktemp("iris")
    return train_iris(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A real PostgreSQL for the run; each test takes a schema of its own."""
    from tests.postgres import postgres  # as above: it needs the extra postgres

    with postgres() as server:
        yield server
