"""A control plane with an operator, and the command line as its user. Pods are run by nobody: the tests play the
kubelet's part.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node import gotools
from tests.integration.cli.user import User
from tests.integration.operator.conftest import (  # noqa: F401 - the same cluster, operator and client
    api,
    audit_log,
    cluster,
    operator,
    operator_kubeconfig,
)

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane

_numbers = itertools.count(1)


@pytest.fixture
def namespace(cluster: ControlPlane) -> str:  # noqa: F811 - the fixture of that name
    """A namespace of the test's own."""
    name = f"cli-{next(_numbers)}"
    cluster.create_namespace(name)
    return name


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """The kubectl that users have on PATH."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(assets, "kubectl") if assets else gotools.ensure(["kubectl"])["kubectl"]


@pytest.fixture
def user(cluster: ControlPlane, kubectl: Path, namespace: str, tmp_path: Path) -> User:  # noqa: F811 - as above
    """The administrator, at work in the namespace."""
    return User(cluster.kubeconfig, kubectl, namespace, tmp_path)
