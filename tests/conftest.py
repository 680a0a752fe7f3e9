"""Fixtures that several areas share."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import httpx
import pytest

from tests.waiting import WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.models import IrisModels
    from tests.postgres import Postgres

# Servers that tests start read compiled modules, as in the images: without them each start compiles its own.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# httpx gives a server five seconds, which a busy machine may take. All its functions share this object.
_times: httpx.Timeout = inspect.signature(httpx.get).parameters["timeout"].default
_times.connect = _times.read = _times.write = _times.pool = WITHIN


@pytest.fixture(scope="session", autouse=True)
def _one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clients of httpx know one public authority instead of all: nothing here is asked outside this machine.

    Each client reads the file, whether it speaks TLS or not; all of them take 50 ms of a processor.
    """
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    only = tmp_path_factory.mktemp("authorities") / "one.pem"
    only.write_text(first + end, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(certifi, "where", lambda: str(only))
        yield


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> IrisModels:
    """A real classifier in every format (see :class:`tests.models.IrisModels`)."""
    from tests.models import (
        train_iris,
    )  # not where the heavy backends are tested, which have no scikit-learn converters

    folder: Path = tmp_path_factory.mktemp("iris")
    return train_iris(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A real PostgreSQL for the run; each test takes a schema of its own."""
    from tests.postgres import postgres  # as above: it needs the extra postgres

    with postgres() as server:
        yield server
