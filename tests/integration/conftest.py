"""A real control plane for the whole run, and a namespace of its own for each test."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node.apiserver import ControlPlane
from pillion.resources.crd import KINDS, custom_resource_definition
from tests.integration.definitions import wait_until_established

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd and kube-apiserver, started once for the run; no controllers, so nothing but the tests writes."""
    with ControlPlane() as started:
        yield started


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with the CRDs of Pillion established."""
    for kind in KINDS:
        definition = json.dumps(custom_resource_definition(kind))
        control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=definition)
    for kind in KINDS:
        wait_until_established(control_plane, kind)
    return control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A namespace of the test's own. It is not deleted: the control plane goes with all that is in it."""
    name = f"test-{next(_numbers)}"
    control_plane.create_namespace(name)
    return name
