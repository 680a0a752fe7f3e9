"""Fixtures that several areas share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.waiting import WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.models import IrisModels
    from tests.postgres import Postgres

# Servers that tests start read compiled modules, as in the images: without them each start compiles its own.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Threads of numerical libraries that wait for each other keep their processors busy for it, which the other tests have
# work for: ten times the processor's time where the machine has more to do than processors. Read when they are loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")


# Clients of httpx read all public authorities, which takes 50 ms of a processor whether they speak TLS or not, and give
# a server five seconds, which a busy machine may take. Those of the tests share what is read, and wait as the tests do.
_authorities = httpx.create_ssl_context()
for _function in (
    *(httpx.request, httpx.stream, httpx.get, httpx.head, httpx.options, httpx.post, httpx.put, httpx.patch),
    *(httpx.delete, httpx.Client.__init__, httpx.AsyncClient.__init__),
):
    _given = {"verify": _authorities, "timeout": httpx.Timeout(WITHIN)}
    _function.__kwdefaults__ = {**(_function.__kwdefaults__ or {}), **_given}


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
