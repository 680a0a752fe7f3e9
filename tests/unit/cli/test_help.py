"""What `pillion --help` imports: its time is counted in modules, which no neighbour on the machine can change."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.server.process import environment

PROBE = """
import sys
before = set(sys.modules)
from pillion.cli.main import main
sys.argv = ["pillion", "--help"]
try:
    main()
finally:
    sys.stderr.write(" ".join(sorted(set(sys.modules) - before)))
"""
HEAVY = {"asyncio", "concurrent", "email", "http", "logging", "multiprocessing", "socket", "sqlite3", "ssl", "xml"}
"""Of the standard library, what costs most and what every server and client would bring along."""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Usage: pillion" in done.stdout, done.stderr
    return set(done.stderr.split())


def test_help_imports_no_package_but_typer_and_what_typer_imports(imported: set[str]) -> None:
    packages = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)

    assert {"pillion", "typer", "annotated_doc", "shellingham"} == packages


def test_help_imports_nothing_of_pillion_but_its_commands(imported: set[str]) -> None:
    own = {name for name in imported if name.partition(".")[0] == "pillion" and not name.startswith("pillion.cli.")}

    assert {"pillion", "pillion._version", "pillion.cli"} == own


def test_help_imports_nothing_of_the_standard_library_that_only_servers_and_clients_need(imported: set[str]) -> None:
    assert set() == HEAVY & imported
