"""Fixtures of the scenarios: one cluster and one release for the run, a namespace for each scenario."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import pytest

from e2e.harness.diagnosis import diagnosis
from e2e.harness.release import Release, ensure_namespace
from e2e.harness.report import Report
from e2e.harness.stage import Stage
from e2e.harness.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


#: The seconds after which a scenario is given up; each one waits with shorter deadlines of its own.
_PATIENCE = 600


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks: `make e2e` runs what is marked smoke, `make e2e-full` everything."""
    config.addinivalue_line("markers", "smoke: of the short run that CI makes, at most eight minutes in all")
    config.addinivalue_line("markers", "full: of the long run only")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give scenarios the time that pods need."""
    for item in items:
        if "scenarios" in item.path.parts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_PATIENCE))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the cluster says of the scenario's namespaces."""
    result = yield
    if result.failed and isinstance(item, pytest.Function):
        used = item.funcargs.values()
        target = next((value for value in used if isinstance(value, Target)), None)
        stages = [value for value in used if isinstance(value, Stage)]
        if target is None and stages:
            target = stages[0].target
        if target is not None:
            result.sections.append(("cluster", diagnosis(target, [stage.namespace for stage in stages])))
    return result


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """The cluster under test, up; ended after the run where the run started it."""
    made = Target()
    made.up()
    yield made
    made.down()


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """The figures of the run."""
    made = Report()
    yield made
    made.save()


@pytest.fixture(scope="module")
def release(target: Target) -> Release:
    """The chart, installed from the checkout."""
    made = Release(target)
    if not made.installed:
        made.ensure()
    return made


@pytest.fixture(scope="module")
def new_stage(target: Target) -> Iterator[Callable[[str], Stage]]:
    """Make namespaces that are deleted after the module."""
    made: list[str] = []

    def make(name: str) -> Stage:
        namespace = f"pillion-e2e-{re.sub('[^a-z0-9]+', '-', name.lower())[:30].strip('-')}-{secrets.token_hex(2)}"
        ensure_namespace(target, namespace)
        made.append(namespace)
        return Stage(target, namespace)

    yield make
    if made:
        # Not waited for: the next scenario has a namespace of its own.
        target.kubectl("delete", "namespace", *made, "--wait=false", "--ignore-not-found")


@pytest.fixture
def stage(
    target: Target, release: Release, new_stage: Callable[[str], Stage], request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """A namespace of the scenario's own."""
    found = new_stage(request.node.name.removeprefix("test_"))
    yield found
    # Its pods would take the node from the module's other scenarios.
    target.kubectl("delete", "namespace", found.namespace, "--wait=false")
